"""Tables of result cards: one order in all forms, nothing a card says becomes markup, nothing missing is hidden."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from made_cards import card, distance, entry, likelihood, numbered, saved
from markdown_it import MarkdownIt
from zoo_bench.cards import files
from zoo_bench.cards.card import metric
from zoo_bench.cards.types import Card, Metric, Relation
from zoo_bench.reports import across, markdown, modelpage, published
from zoo_bench.reports import cells as words
from zoo_bench.reports import html as htmlreport
from zoo_bench.reports import report as reports
from zoo_bench.reports import tables as reporting
from zoo_bench.reports.boards import boards

from zoo_core.errors import ZooError


def groups(found: list[Card]) -> dict[str, list[str]]:
    """The models of the only table by the relation of their group, in order."""
    (table,) = reporting.tables(found)
    return {title.partition(",")[0]: [row.name for row in rows] for title, rows in table.groups}


def distances(relation: Relation, kl: float) -> list[Metric]:
    """kl before the likelihood, as the suite toy@1 lists them."""
    return [entry("kl", kl, relation), entry("tv", kl / 2, relation)]


EXACT, BOUNDS, ESTIMATES = (title.partition(",")[0] for title in list(reporting.GROUPS.values())[:3])


def test_the_likelihood_says_where_a_row_stands_though_the_card_lists_a_distance_first() -> None:
    found = [
        card("gaussian", *distances("≈", 0.1), likelihood(3.0, "≤")),
        card("first", *distances("=", 0.9), likelihood(1.0, "=")),
        card("second", *distances("=", 0.2), likelihood(2.0, "=")),
    ]
    assert groups(found) == {EXACT: ["first", "second"], BOUNDS: ["gaussian"]}
    (table,) = reporting.tables(found)
    assert [column.title for column in table.columns] == ["bits_per_dim", "kl", "tv"]


def test_the_method_is_that_of_the_likelihood() -> None:
    found = [card("gaussian", entry("kl", 0.1, "≈", method="midpoint-4"), likelihood(3.0, "≤", method="dequant-16"))]
    assert cells_of("gaussian", found)["method"] == "dequant-16"
    page = htmlreport.page(found)
    assert '<td class="text">dequant-16</td>' in page


def test_without_a_likelihood_another_metric_with_a_relation_orders_the_rows() -> None:
    found = [card("far", *distances("=", 0.9)), card("near", *distances("=", 0.2)), card("off", *distances("≈", 0.1))]
    assert groups(found) == {EXACT: ["near", "far"], ESTIMATES: ["off"]}
    found = [card("low", entry("precision", 0.2, "=")), card("high", entry("precision", 0.9, "="))]
    assert groups(found) == {EXACT: ["high", "low"]}, "more is better: best first is the highest first"


def test_the_likelihood_that_most_rows_have_leads_the_table_and_the_page() -> None:
    given = card("a_given", likelihood(0.5, "=", "class"), distance(0.1), given="class")
    found = [given, card("b", *distances("≈", 0.1), likelihood(2.0, "=")), card("c", likelihood(1.0, "="))]
    (table,) = reporting.tables(found)
    assert [column.title for column in table.columns][:2] == ["bits_per_dim", "bits_per_dim given labels"]
    assert table.lead == table.columns[0].key
    assert groups(found)[EXACT] == ["c", "b", "a_given"]
    page = htmlreport.page(found)
    assert page.index('data-model="c.digits"') < page.index('data-model="b.digits"')
    assert 'data-lead="0"' in page


def test_a_distance_that_more_rows_have_than_a_likelihood_leads_nothing() -> None:
    found = [card(name, *distances("=", kl)) for name, kl in (("a", 0.1), ("b", 0.2))]
    found.append(card("c", *distances("≈", 0.3), likelihood(1.0, "≤")))
    (table,) = reporting.tables(found)
    assert table.columns[0].title == "bits_per_dim" and table.lead == table.columns[0].key
    assert 'data-lead="0"' in htmlreport.page(found)


HARD = "[/b] [red]a|b\\|c\nd</td><!-- end results --><b>*x* `y` [link](https://example.org) :smile: \x1b[31m&lt;"


def hard() -> list[Card]:
    """Cards in which everything that may be text is hard to keep as text."""
    published = [{"value": 1.5, "unit": "bits/dim", "protocol": HARD, "why": HARD, "source": HARD}]
    said: dict[str, Any] = {"family": HARD, "tag": HARD, "published": published}
    numbers = likelihood(2.0, "=", method=HARD), distance(0.5, HARD)
    one = card(HARD, *numbers, task=HARD, **said)
    return [
        one,
        one.but(model=one.model.but(name="broken"), status="failed", error=HARD),
        one.but(model=one.model.but(name="other"), metrics=(distance(None, HARD, reason=HARD).but(status="skipped"),)),
        card(HARD, *numbers, task="other@1/data", data=HARD + "2", **said),
    ]


def read(text: str) -> list[list[str]]:
    """The cells of each row and each paragraph as a reader sees them; fails on HTML, links and code."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type in ("tr_open", "paragraph_open"):
            rows.append([])
        assert token.type != "html_block"
        if token.type != "inline":
            continue
        kinds = {child.type for child in token.children or ()}
        assert kinds <= {"text", "text_special", "softbreak", "em_open", "em_close", "strong_open", "strong_close"}
        rows[-1].append("".join(child.content for child in token.children or ()))
    return rows


@pytest.mark.parametrize("columns", ["headline", "all"])
def test_in_markdown_whatever_a_card_says_is_text(columns: reports.Columns, tmp_path: Path) -> None:
    name = " ".join(HARD.split())
    tables = reporting.tables(hard())
    seen = read(reports.report([numbered(hard(), tmp_path)], columns=columns))
    shown = [row for row in seen if row[1:] and row[1]]
    expected = []
    for board in (board for table in tables for board in boards(table, columns == "all")):
        cells = [[cell.text for cell in words.cells(row, board)] for row in board.rows]
        expected += [words.header(board), *cells]
    assert [[" ".join(cell.split()) for cell in line] for line in shown] == [
        [" ".join(cell.split()) for cell in line] for line in expected
    ]
    assert sum(cell == name for row in shown for cell in row) == {"headline": 5, "all": 7}[columns]
    assert [f"skipped: fd_pixels: {name}"] in seen
    (_, *rows) = read("\n".join(published.table(hard())))
    assert [row[4:] for row in rows] == 3 * [[name, name, name]]
    assert [row[0] for row in read("\n".join(across.table(hard())))[:3]] == ["data", f"{name}2", "digits"]
    assert any(name in row[0] for row in read("\n".join(modelpage.listing(hard()))) if len(row) > 1)


def test_a_block_of_a_page_ends_where_it_should_though_a_name_says_otherwise(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- begin results: quick@1 -->\n<!-- end results -->\nafter\n")
    found = [card(HARD, likelihood(2.0, "="))]
    assert not reports.fill_blocks(page, found)
    assert reports.fill_blocks(page, found)
    assert page.read_text().count("<!-- end results -->") == 1


def test_the_short_table_of_a_suite_has_its_default_models_and_the_reference_rows(tmp_path: Path) -> None:
    """Other weights of these models (of other data, given labels) stand in the whole table."""
    found = [
        card("gmm", likelihood(2.0, "≤")),
        card("made", likelihood(2.0, "=")),
        card("made", likelihood(1.9, "="), tag="digits_transformed"),
        card("ddpm", likelihood(1.8, "≤", "class"), given="class", tag="digits_cond"),
        card("nade", likelihood(1.7, "=")),
        card("uniform", likelihood(4.0, "="), family="baseline", tag=None),
    ]
    page = tmp_path / "page.md"
    page.write_text("<!-- begin defaults: quick@1 -->\n<!-- end defaults -->\nafter\n")
    reports.fill_blocks(page, found)
    _, table, _ = re.split(r"<!--.*-->\n", page.read_text())
    rows = {row[0]: row[1] for row in read(table) if len(row) > 1}
    assert [name for name, second in rows.items() if second == "mixture"] == ["made", "gmm"]
    assert "uniform" in rows


def test_in_a_terminal_whatever_a_card_says_is_text(tmp_path: Path) -> None:
    text = reports.report([numbered(hard(), tmp_path)], form="terminal")
    assert text.count(" ".join(HARD.split()).replace("\x1b", "\\x1b")) >= 6
    assert "bits/dim" in text
    assert "\x1b" not in text


def test_a_terminal_shows_a_likelihood_that_no_other_column_shows(tmp_path: Path) -> None:
    """nats say what bits/dim said already; log P(x | label) is something else."""
    given = card("given", likelihood(0.5, "=", "class"), given="class")
    folder = saved([given, card("b", likelihood(2.0, "="), entry("nats", 88.0, "="))], tmp_path)
    text = reports.report([folder], form="terminal")
    assert "= 0.5000" in text and "= 2.0000" in text
    assert "= 88.00" not in text
    assert "= 88.00" in reports.report([folder], form="terminal", columns="all")


def several(*values: float, **params: Any) -> list[Card]:
    """The cards of one model, one per sampling seed; the likelihood is in the first."""
    first, *others = [card("a", distance(value, **params), seed=seed) for seed, value in enumerate(values)]
    return [first.but(metrics=(likelihood(2.0, "="), *first.metrics)), *others]


def test_each_form_says_which_of_its_intervals_are_over_images_and_which_over_seeds(tmp_path: Path) -> None:
    folder = numbered(several(0.1, 0.2, 0.3), tmp_path)
    for form in ("markdown", "terminal"):
        text = " ".join(reports.report([folder], form=form).split())  # type: ignore[arg-type]
        assert "= 2.0000 ± 0.0100 " in text and "± 0.0100 sd" not in text
        assert "0.2000 ± 0.1000 sd (3 seeds)" in text
        assert "± or [low, high] is a 95 % interval; ± … sd is one standard deviation over sampling seeds" in text
    (alone,) = reporting.tables([card("b", likelihood(2.0, "="))])
    assert "sd" not in words.legend(boards(alone), "Bold")
    page = htmlreport.page(several(0.1, 0.2, 0.3))
    assert "± 0.1000</span>" in page and " sd, 3 seeds" in page


def test_the_same_weights_across_sets_say_what_their_intervals_are() -> None:
    one, other = card("a", likelihood(2.0, "=")), card("a", likelihood(2.5, "="), data="others", task="other@1/others")
    assert across.table([one, other])[-1] == "± is a 95 % interval."


def test_a_warning_marks_its_number_and_is_explained_below(tmp_path: Path) -> None:
    few = "N <= feature dimension"
    folder = numbered([card("a", distance(0.5, warning=few)), card("b", distance(0.7))], tmp_path)
    for form in ("markdown", "terminal"):
        text = reports.report([folder], form=form).replace("\u00a0", " ")  # type: ignore[arg-type]
        assert "0.5000 ± 0.0100 !" in text and "0.7000 ± 0.0100 !" not in text
        assert f"! fd_pixels: {few}" in text.replace("&lt;", "<")


def test_a_warning_or_a_flag_of_one_seed_is_one_of_the_row() -> None:
    one, other = several(0.1, 0.2, flag=False)
    warned = distance(0.2, warning="too few", flag=True)
    (table,) = reporting.tables([one, other.but(metrics=(warned,))])
    assert "! fd_pixels: too few" in words.below(table)
    ((_, (row,)),) = table.groups
    (board,) = boards(table)
    assert [cell for cell in words.cells(row, board) if cell.text.endswith("sd (2 seeds) flagged !")]


def absent(name: str, status: str = "failed", given: str = "none", **params: Any) -> Metric:
    """A metric that gave no number, as `metrics.without_value` says it: under a key of its own."""
    identity = {"task": "quick@1/digits", "conditioning": given, "skipped": name}
    made = metric(name, 1, None, unit="", relation=None, interval=None, identity=identity, reason="too few", **params)
    return made.but(status=status)


def cells_of(model: str, found: list[Card]) -> dict[str, str]:
    """A model's cells of the only table, by the titles of their columns, which say which protocol each is of."""
    (table,) = reporting.tables(found)
    ((board, row),) = [(board, row) for board in boards(table, True) for row in board.rows if row.name == model]
    model_and_family, rest = words.header(board)[:2], words.header(board)[2 + len(board.columns) :]
    titles = [*model_and_family, *(column.title for column in board.columns), *rest]
    return dict(zip(titles, (cell.text for cell in words.cells(row, board)), strict=True))


def test_a_metric_without_a_number_stands_in_the_columns_of_its_numbers() -> None:
    kinds = ("precision", "recall", "density", "coverage", "class_tv", "nn_ratio")
    real = [entry(f"{kind}_x", 0.5) for kind in kinds]
    missing = [
        absent("prdc_x", ids=tuple(f"{kind}_x" for kind in kinds[:4])),
        absent("classes_x", ids=("class_tv_x", "class_accuracy_x")),
        absent("memorisation_x", "skipped", ids=("nn_ratio_x",)),
    ]
    restored = [entry(f"restore_half_{kind}", 0.5) for kind in ("mse", "psnr")]
    other = [entry("bespoke_a", 0.5), entry("bespoke_b", 0.5)]
    found = [
        card("whole", *real, *restored, *other, distance(0.1), distance(0.2, "test"), entry("is", 3.0)),
        card("part", *missing, absent("restore_half", ids=("restore_half_mse", "restore_half_psnr")),
             absent("bespoke", ids=("bespoke_a", "bespoke_b")), distance(0.3), absent("fd_pixels"),
             absent("is", "skipped")),
    ]  # fmt: skip
    cells = cells_of("part", found)
    assert set(cells) == set(cells_of("whole", found)), "no column holds nothing but this"
    said = {title.partition(" ")[0]: cell for title, cell in cells.items()}
    assert {said[f"{kind}_x"] for kind in kinds[:5]} == {"failed"} and said["nn_ratio_x"] == "skipped"
    assert {said[name] for name in ("restore_half_mse", "restore_half_psnr", "bespoke_a", "bespoke_b")} == {"failed"}
    assert said["is"] == "skipped"
    assert cells["fd_pixels (train)"].startswith("0.3000"), "a number is left alone"
    assert cells["fd_pixels (test)"] == "failed"
    below = words.below(reporting.tables(found)[0])
    assert "skipped: is: too few" in below and "part.digits: no prdc_x: too few" in below


def test_a_metric_that_no_model_has_a_number_of_is_one_column_without_a_direction() -> None:
    given = card("given", absent("prdc_x", given="class"), given="class")
    found = [card("a", likelihood(2.0, "="), absent("prdc_x")), card("b", absent("prdc_x")), given]
    (table,) = reporting.tables(found)
    assert [column.title for column in table.columns] == ["bits_per_dim", "prdc_x"]
    assert table.columns[1].better is None
    assert {cells_of(name, found)["prdc_x"] for name in ("a", "b", "given")} == {"failed"}
    page = htmlreport.page(found)
    assert 'aria-label="Sort by prdc_x, no value"' in page
    assert page.count('class="better"') == 1


def test_it_stands_in_the_columns_of_its_own_conditioning() -> None:
    plain = distance(0.1, n_reference=9)
    given = entry("fd_pixels", 0.2, given="class", reference="train", n_reference=9)
    part = card("part", absent("fd_pixels", given="class"), given="class")
    found = [card("plain", plain), card("given", given, given="class"), part]
    cells = cells_of("part", found)
    assert cells["fd_pixels given labels (train)"] == "failed" and "fd_pixels (train)" not in cells


def test_the_page_says_it_in_each_of_its_columns_and_csv_once(tmp_path: Path) -> None:
    found = [card("whole", distance(0.1), distance(0.2, "test")), card("part", absent("fd_pixels", "skipped"))]
    page = htmlreport.page(found)
    assert page.count(">skipped</span>") == 2
    assert 'fd_pixels</span><span class="better" title="lower is better"' in page
    rows = list(csv.DictReader(io.StringIO(reports.report([numbered(found, tmp_path)], form="csv"))))
    assert [row["metric"] for row in rows if row["model"] == "part"] == ["fd_pixels"]


def test_a_seed_that_failed_is_told_though_the_others_have_numbers() -> None:
    one, other = several(0.1, 0.3)
    (table,) = reporting.tables([one, other.but(metrics=(absent("fd_pixels"),))])
    assert len(table.columns) == 2
    assert "a.digits: no fd_pixels: too few" in words.below(table)


def test_csv_says_which_way_is_better_and_what_each_number_is(tmp_path: Path) -> None:
    found = [
        *several(0.1, 0.2, 0.3),
        card("b", entry("precision", 0.5), entry("nn_ratio_x", 1.0, flag=True), distance(0.4, warning="too few")),
        card("c", absent("prdc_x", "skipped"), likelihood(None, "=", reason="3 images have no probability")),
        card("d", status="failed", error="loss is nan"),
    ]
    text = reports.report([numbered(found, tmp_path)], form="csv")
    rows = {(row["model"], row["metric"]): row for row in csv.DictReader(io.StringIO(text))}
    assert text.startswith("task,model,tag,family,status,metric,reference,relation,value,low,high,unit,method,compar")
    assert all(None not in row and None not in row.values() for row in rows.values())
    better = {key: row["higher_is_better"] for key, row in rows.items()}
    assert better["a", "fd_pixels"] == "false" and better["b", "precision"] == "true"
    assert better["b", "nn_ratio_x"] == better["c", "prdc_x"] == better["d", ""] == ""
    assert [rows["a", metric]["seeds"] for metric in ("fd_pixels", "bits_per_dim")] == ["3", "1"]
    assert rows["a", "fd_pixels"]["interval"] == "standard deviation over 3 seeds"
    assert rows["a", "bits_per_dim"]["interval"] == "95 %, normal"
    assert rows["b", "fd_pixels"]["note"] == "too few" and rows["b", "nn_ratio_x"]["note"] == "flagged"
    assert rows["c", "prdc_x"]["note"] == "skipped: too few"
    assert rows["c", "bits_per_dim"]["note"] == "failed: 3 images have no probability"
    assert rows["d", ""]["note"] == "loss is nan"


def theirs(seed: int, value: float, **drawn: Any) -> Card:
    """Images from elsewhere, called `samples`, as a file says that they were drawn."""
    sampling = {"n": 1000, "seed": seed, "sampler": "unknown", "sha256": f"{seed:x}" * 64, **drawn}
    one = card("samples", distance(value), family="samples", tag=None, sampling=sampling)
    return one.but(model=one.model.but(weights=None))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),  # nobody knows what drew them
        ({"weights": "a" * 16, "model": "gmm.digits"}, {"weights": "b" * 16, "model": "bmm.digits"}),
        ({"weights": "a" * 16, "temperature": 0.1}, {"weights": "a" * 16, "temperature": 1.0}),
    ],
)
def test_images_of_two_models_are_never_seeds_of_one_row(first: dict, second: dict) -> None:
    (table,) = reporting.tables([theirs(0, 0.2, **first), theirs(1, 0.6, **second)])
    names = [row.name for _, rows in table.groups for row in rows]
    assert len(set(names)) == 2 and all(name.startswith("samples (") for name in names)
    page = htmlreport.page([theirs(0, 0.2, **first), theirs(1, 0.6, **second)])
    assert "0.2000" in page and "0.6000" in page and "0.4000" not in page


def test_images_of_one_model_under_two_seeds_are() -> None:
    same = {"weights": "a" * 16, "model": "gmm.digits"}
    (table,) = reporting.tables([theirs(0, 0.2, **same), theirs(1, 0.6, **same)])
    (row,) = [row for _, rows in table.groups for row in rows]
    assert [entry.value for entry in row.values.values()] == [pytest.approx(0.4)]


def test_files_of_one_name_and_seed_are_two_results(tmp_path: Path) -> None:
    for folder, weights in (("a", "a" * 16), ("b", "b" * 16)):
        files.write(theirs(0, 0.2, weights=weights), tmp_path / folder / "cards")
    assert len(files.read_all([tmp_path])) == 2


def test_an_exact_value_and_a_bound_have_no_mean() -> None:
    found = [card("a", likelihood(2.0, "=")), card("a", likelihood(3.0, "≤", method="elbo-16"), seed=1)]
    with pytest.raises(
        ZooError, match=r"a\.digits: .* hold bits_per_dim as = log_prob and ≤ elbo-16, which have no mean"
    ):
        reporting.tables(found)


def test_rows_of_the_same_weights_under_two_tags_are_told_apart() -> None:
    found = [card("a", likelihood(2.0, "=")), card("a", likelihood(3.0, "="), tag="digits_other")]
    (table,) = reporting.tables(found)
    names = [row.name for _, rows in table.groups for row in rows]
    assert len(set(names)) == 2
    labels = re.findall(r'"label":"([^"]*)"', htmlreport.page(found))
    assert len(set(labels)) == 2


def test_a_folder_of_ones_own_holds_cards_whatever_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(card("a", likelihood(2.0, "=")).to_dict()))
    (tmp_path / "config.json").write_text(json.dumps({"hidden": 3}))
    assert [one.model.name for one in files.read_all([tmp_path])] == ["a"]


def test_no_emphasis_comes_of_a_name() -> None:
    for text in ("_m_", "~~x~~", "$a$", "*b*", "a_b_c", "__init__", "snake_case_name"):
        html = MarkdownIt("gfm-like", {"linkify": False}).render(markdown.escaped(text))
        assert html == f"<p>{text}</p>\n"
    assert "\\" not in markdown.escaped("fd_inf_digitscnn")
