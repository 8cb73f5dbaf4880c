"""The HTML report: nothing incomparable is ranked, every number carries its protocol, and no card can run a program."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from html_page import Page
from made_cards import HOSTILE, card, distance, entry, likelihood, many, saved, zoo_of_cards
from zoo_bench.cards import files
from zoo_bench.cards.types import Card, Interval, Weights
from zoo_bench.reports import html as htmlreport
from zoo_bench.reports.page import sections
from zoo_bench.reports.reference import FAMILIES
from zoo_bench.templates import embedded

from zoo_core import ZooError


def lines_of_tables(page: Page) -> list[list[tuple[str, list[str]]]]:
    """Tables, each with its lines: what they are (`band` or nothing) and their cells, the heads first."""
    found: list[list[tuple[str, list[str]]]] = []
    for kind, cells in page.lines:
        if cells[0] in ("model", "reference row"):
            found.append([])
        found[-1].append((kind, cells))
    return found


def board(page: Page) -> list[tuple[str, list[str]]]:
    """The rows of the first leaderboard: what they are (`band` or nothing) and their cells."""
    return lines_of_tables(page)[0][1:]


def names(lines: list[tuple[str, list[str]]]) -> list[str]:
    """The models of a table, from top to bottom."""
    return [cells[0].split(".digits")[0] for kind, cells in lines[1:] if kind != "band"]


def groups(page: Page) -> dict[str, list[str]]:
    """The bands of the first leaderboard and the models below each, in order."""
    found: dict[str, list[str]] = {}
    for kind, cells in board(page):
        if kind == "band":
            found[cells[0]] = []
        else:
            found[list(found)[-1]].append(cells[0].split(".digits")[0])
    return found


def test_only_exact_values_of_one_key_are_ordered() -> None:
    found = groups(Page(htmlreport.page(zoo_of_cards())))
    assert found["exact values (=), in order"] == ["better", "worse"]
    assert found["upper bounds (≤), by name: bounds are not ordered"] == ["alpha", "zeta"]
    assert found["estimates (≈), by name: not ordered"] == ["ode"]
    assert found["no value under this key, by name"] == ["gan"]


def conditional_cards() -> list[Card]:
    """One of each kind, and two models given labels, one with a metric of its own, and their floor."""
    given = {"given": "class"}
    near, nearer = (entry("fd_pixels", value, reference="train", **given) for value in (0.2, 0.1))
    floor = card("training_images_given_labels", nearer, family="floor", **given)
    return [
        *zoo_of_cards()[:6],
        card("given", likelihood(0.5, "=", **given), near, entry("class_accuracy", 0.9, **given), **given),
        card("lower", likelihood(0.4, "=", **given), **given),
        *zoo_of_cards()[7:],
        floor.but(model=floor.model.but(params=None)),
    ]


def test_models_conditional_models_and_reference_rows_have_tables_of_their_own() -> None:
    text = htmlreport.page(conditional_cards())
    models, constructed, given, floor = lines_of_tables(Page(text.partition('id="h-pictures"')[0]))
    assert names(models) == ["better", "worse", "alpha", "zeta", "ode", "gan"]
    assert names(constructed) == ["training_images", "diluted"]
    assert names(given) == ["lower", "given"], "ordered by the likelihood of their own condition"
    assert names(floor) == ["training_images_given_labels"]
    headings = re.findall(r"<h4>(.*?)</h4>", text.partition('id="h-pictures"')[0])
    assert headings == ["Reference rows", "Models given labels", "Reference rows, given labels"]
    labels = re.findall(r'aria-label="(Leaderboard of .*?), scrolls', text)
    assert len(set(labels)) == 4 and "Leaderboard of quick@1/digits, models given labels" in labels


def test_a_table_has_only_columns_with_a_value_in_it() -> None:
    models, constructed, given, floor = lines_of_tables(Page(htmlreport.page(conditional_cards())))[:4]

    def heads(lines: list[tuple[str, list[str]]]) -> list[str]:
        return [re.split("[ ↓↑(]", head)[0] for head in lines[0][1]]

    assert heads(models) == ["model", "bits_per_dim", "fd_pixels", "fd_pixels", "method", "parameters", "family"]
    assert heads(constructed) == ["reference", "purpose", "bits_per_dim", "fd_pixels", *heads(models)[4:]]
    assert heads(given) == ["model", "bits_per_dim", "fd_pixels", "class_accuracy", "method", "parameters", "family"]
    assert heads(floor) == ["reference", "purpose", "fd_pixels", "family"]
    for lines in (models, constructed, given, floor):
        cells = [cells for kind, cells in lines[1:] if kind != "band"]
        assert all(set(column) - {"–", "—"} for column in zip(*cells))


def test_reference_rows_say_what_they_are_for_and_are_in_no_order() -> None:
    _, lines, *_ = lines_of_tables(Page(htmlreport.page(conditional_cards())))
    assert [kind for kind, _ in lines] == ["", "", ""], "no group of them is ranked"
    (floor, diluted) = (cells for _, cells in lines[1:])
    assert floor[1] == "training images scored as samples: the floor for every model"
    assert diluted[1] == "constructed to show what a metric misses"
    (task,) = Page(htmlreport.page(conditional_cards())).data["tasks"]
    ((_, _, shown),) = sections.leaderboards([task])
    assert [board.lead is None for board in shown] == [False, True, False, True]


def test_reference_rows_alone_and_tasks_without_a_complete_card() -> None:
    alone = card("training_images", distance(0.1), family="floor")
    broken = card("broken", status="failed", error="loss is nan", task="broken@1/digits")
    text = htmlreport.page([alone, broken])
    assert names(lines_of_tables(Page(text))[0]) == ["training_images"]
    assert text.count("No complete card.") == 1 and "broken@1/digits</h3>" in text


def test_a_column_is_a_key_and_a_metric_where_more_is_better_is_ordered_downwards() -> None:
    found = [card("low", entry("precision", 0.2, "=")), card("high", entry("precision", 0.9, "="))]
    page = Page(htmlreport.page(found))
    assert groups(page)["exact values (=), in order"] == ["high", "low"]
    assert "descending" in page.attributes("aria-sort")
    (task,) = Page(htmlreport.page(zoo_of_cards())).data["tasks"]
    keys = [column["key"] for column in task["columns"]]
    assert len(keys) == len(set(keys)) == 4
    for row in task["rows"]:
        for number, cell in row["cells"].items():
            assert (task["columns"][int(number)]["id"] == "bits_per_dim") == ("relation" in cell)


def test_every_cell_carries_its_whole_protocol() -> None:
    found = zoo_of_cards()
    found[2] = found[2].but(weaker_likelihoods=(likelihood(1.4, "≤", method="elbo-1", chunk=100),))
    data = Page(htmlreport.page(found)).data
    (task,) = data["tasks"]
    by_key = {one.model.name: one.to_dict() for one in found}
    for row in task["rows"]:
        mine = by_key[row["name"]]
        shown = data["cards"][row["cards"][0]]
        assert len(row["cells"]) == len(mine["metrics"])
        for number, cell in row["cells"].items():
            column = task["columns"][int(number)]
            (original,) = [one for one in mine["metrics"] if one["comparable_key"] == column["key"]]
            assert (cell["value"], cell["params"], cell["interval"]) == tuple(
                original[key] for key in ("value", "params", "interval")
            )
            assert (column["id"], column["version"]) == (original["id"], original["version"])
        assert shown["model"]["weights"] == mine["model"]["weights"]
        assert shown["command"] == mine["command"]
        assert data["tasks_of_cards"][shown["task"]] == mine["task"]
        assert data["data"][shown["data"]] == mine["data"]
        assert data["environments"][shown["environment"]] == mine["environment"]
    assert len(data["environments"]) == 1
    (zeta,) = [row for row in task["rows"] if row["name"] == "zeta"]
    assert zeta["cells"][str(task["lead"])]["weaker"] == [["≤", 1.4, "elbo-1"]]


def test_what_is_missing_says_why() -> None:
    skipped = distance(None, reason="weights of inception are missing: inception.pth").but(status="skipped")
    infinite = likelihood(None, "=", reason="3 of 300 images have no probability at all")
    broken = card("broken", status="failed", error="loss is nan")
    part = card("part", likelihood(1.0, "="), partial=True)
    page = Page(htmlreport.page([card("a", skipped, infinite), card("b", likelihood(2.0, "=")), broken, part]))
    lines = {cells[0]: cells for _, cells in board(page)}
    assert "skipped: weights of inception are missing: inception.pth" in lines["a.digits"]
    assert "failed: 3 of 300 images have no probability at all" in lines["a.digits"]
    assert "–" in lines["b.digits"]
    assert groups(page)["exact values (=), in order"] == ["b", "a"]
    assert "broken.digits: failed: loss is nan" in page.text
    assert "part.digits: not in the table, because it is partial" in page.text
    assert "part.digits" not in lines


def test_a_table_that_nothing_leads_is_by_name() -> None:
    found = [card(name, entry("nn_ratio_x", value, flag=True)) for name, value in (("b", 0.1), ("a", 0.3))]
    assert groups(Page(htmlreport.page(found))) == {"by name": ["a", "b"]}


def test_constructed_rows_and_the_floor_are_marked() -> None:
    tables = lines_of_tables(Page(htmlreport.page(zoo_of_cards())))[:2]
    lines = {cells[0].split(".")[0]: cells[0] for lines in tables for _, cells in lines}
    assert lines["diluted"].endswith("constructed")
    assert Page(htmlreport.page(zoo_of_cards())).attributes("title").count(FAMILIES["constructed"]) == 1
    assert lines["training_images"].endswith("floor")
    assert lines["gan"] == "gan.digits"


def test_published_values_stand_beside_ours_and_in_no_ranked_column() -> None:
    published = [
        {"value": 84.87, "unit": "bits/dim", "protocol": "dynamic binarisation", "source": "https://example.org/a?b=1&c=2"},
        {"value": 1, "unit": "nats", "protocol": HOSTILE, "source": "javascript:alert(1)"},
    ]  # fmt: skip
    page = Page(htmlreport.page([card("a", likelihood(2.0, "="), published=published)]))
    (line,) = [cells for _, cells in page.lines if "84.87" in cells]
    assert line == [
        "a.digits",
        "= 2.0000 ± 0.0100",
        "84.87",
        "bits/dim",
        "dynamic binarisation",
        published[0]["source"],
    ]
    assert published[0]["source"] in page.attributes("href")
    assert not [href for href in page.attributes("href") if href.startswith("javascript")]
    (task,) = page.data["tasks"]
    assert len(task["columns"]) == 1


def test_seeds_are_one_row_with_each_value_in_its_protocol() -> None:
    found = [card("gan", distance(value), seed=seed, family="gan") for seed, value in enumerate([0.1, 0.2, 0.3])]
    page = Page(htmlreport.page(found))
    (task,) = page.data["tasks"]
    (row,) = task["rows"]
    assert row["cells"]["0"]["value"] == pytest.approx(0.2)
    assert row["cells"]["0"]["seeds"] == [[0, 0.1], [1, 0.2], [2, 0.3]]
    assert len(row["cards"]) == 3
    assert any("3 seeds" in cell for _, cells in page.lines for cell in cells)


def test_rows_of_one_name_are_told_apart() -> None:
    one, other = card("made", likelihood(2.0, "=")), card("made", likelihood(2.1, "="))
    other = other.but(model=other.model.but(weights=Weights(source="runs/made", sha256="b" * 64)))
    page = Page(htmlreport.page([one, other]))
    assert one.model.weights is not None
    assert {cells[0] for kind, cells in page.lines if not kind} == {
        "model",
        "made.digits bbbbbbbb",
        f"made.digits {one.model.weights.sha256[:8]}",
    }
    assert len({row["label"] for row in page.data["tasks"][0]["rows"]}) == 2


def test_peoples_scores_have_a_table_of_their_own() -> None:
    found = [
        card("a", distance(0.1), entry("bradley_terry", 0.3, question="which is real?")),
        card("b", distance(0.2), entry("bradley_terry", 1.5, question="which is real?")),
    ]
    text = htmlreport.page(found)
    board, judges = text.split('id="h-judges"')
    assert "bradley" not in board.split("<main>")[1]
    assert 'aria-label="Human judgement of quick@1/digits' in judges
    lines = [cells for kind, cells in Page(judges).lines if kind != "band"]
    assert [cells[:2] for cells in lines[1:3]] == [["b.digits", "1.5000 ± 0.0100"], ["a.digits", "0.3000 ± 0.0100"]]
    assert '<section id="judges" aria-labelledby="h-judges" hidden>' in htmlreport.page(zoo_of_cards())


def test_an_interval_that_is_not_symmetric_is_given_by_its_ends() -> None:
    lopsided = distance(0.5).but(interval=Interval(level=0.95, method="normal", n=300, low=0.4, high=0.9))
    lines = board(Page(htmlreport.page([card("a", lopsided), card("b", distance(0.5))])))
    assert [cells[1] for kind, cells in lines if not kind] == ["0.5000 [0.4000, 0.9000]", "0.5000 ± 0.0100"]


def test_a_task_of_judges_alone_stands_in_their_section_only() -> None:
    judged = card("a", entry("plackett_luce", 0.3), task="judge@1/digits")
    page = htmlreport.page([judged, card("b", likelihood(2.0, "="))])
    board, judges = page.split('id="h-judges"')
    assert "judge@1/digits</h3>" not in board
    assert "judge@1/digits</h3>" in judges


def test_nothing_a_card_says_becomes_markup_or_program() -> None:
    hostile = card(
        HOSTILE,
        likelihood(2.0, "=", method=HOSTILE, **{HOSTILE: HOSTILE}),
        family=HOSTILE,
        tag=HOSTILE,
        task=HOSTILE,
        command=HOSTILE,
        environment={"device": HOSTILE, "packages": {"torch": HOSTILE}},
        published=[
            {"value": 1.5, "unit": unit, "protocol": HOSTILE, "source": HOSTILE} for unit in ("bits/dim", HOSTILE)
        ],
    )
    broken = hostile.but(status="failed", error=HOSTILE)
    text = htmlreport.page([hostile, broken])
    page, plain = Page(text), Page(htmlreport.page([card("a", likelihood(2.0, "="))]))
    assert len(page.scripts) == len(plain.scripts) == 2
    assert page.scripts[1] == plain.scripts[1]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert {tag for tag, _ in page.tags} - {tag for tag, _ in plain.tags} <= {"ul", "li", "h4", "code", "optgroup"}
    (task,) = page.data["tasks"]
    assert task["rows"][0]["name"] == HOSTILE
    assert task["rows"][0]["cells"]["0"]["params"][HOSTILE] == HOSTILE
    assert HOSTILE in page.text and page.attributes("data-family")[0] == HOSTILE  # {{data}} is still there


def test_json_inside_a_page_is_safe_and_whole() -> None:
    value = {"a": ["</script>", "<!--", "\u2028", "ü≤"]}
    assert "<" not in embedded(value)
    assert json.loads(embedded(value)) == value
    with pytest.raises(ValueError, match="JSON compliant"):
        embedded({"a": float("nan")})


def test_the_page_is_one_file_that_fetches_nothing() -> None:
    page = Page(htmlreport.page(zoo_of_cards()))
    assert not page.attributes("src")
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "embed", "base")]
    links = [attributes["href"] or "" for tag, attributes in page.tags if "href" in attributes]
    assert all(link.startswith(("#", "https://arxiv.org/")) for link in links)
    assert not re.search(r"url\(|@import|@font-face", page.styles[0])
    assert not re.search(r"\bfetch\(|XMLHttpRequest|import\(|innerHTML|insertAdjacentHTML|\beval\(", page.scripts[1])
    (policy,) = [a["content"] or "" for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    for kind, text in (("script", page.scripts[1]), ("style", page.styles[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not page.attributes("style")  # the policy would refuse it


def test_ids_are_unique_and_references_exist() -> None:
    page = Page(htmlreport.page(zoo_of_cards()))
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    wanted = {*page.attributes("aria-labelledby"), *(href[1:] for href in page.attributes("href") if href[0] == "#")}
    assert wanted - {"protocol-title"} <= set(ids)  # which page.js writes


def test_what_a_reader_looks_for_first_stands_first() -> None:
    first = card("a", likelihood(2.0, "="), entry("nats", 90.0, "="), distance(0.2), distance(0.3, "test"))
    page = Page(htmlreport.page([first, card("b", distance(0.1), family="gan")]))
    assert [cell.partition(" ")[0] for cell in page.lines[0][1]][:2] == ["model", "bits_per_dim↓bits/dim"]
    assert page.lines[0][1][2].startswith("fd_pixels↓(test)")
    page = Page(htmlreport.page([card("b", entry("precision", 0.5), distance(0.1))]))
    assert page.lines[0][1][1].startswith("fd_pixels"), "the task's headline"
    assert page.lines[0][1][2].startswith("precision")
    (task,) = Page(htmlreport.page([card("b", entry("precision", 0.5))])).data["tasks"]
    assert [board["columns"] for board in task["boards"]] == [[0]]


def test_training_curves_are_of_these_very_weights(tmp_path: Path) -> None:
    found = zoo_of_cards()[:2]
    saved(found, tmp_path)
    lines = [{"images": 10 * i, "seconds": i, "loss": 1 / i, "sometimes": 1 if i > 1 else None} for i in range(1, 1000)]
    assert found[0].model.weights is not None
    for one, sha256 in zip(found, [found[0].model.weights.sha256, "other"]):
        run = tmp_path / "runs" / f"{one.model.name}.digits"
        (run / "weights").mkdir(parents=True)
        (run / "weights" / "config.json").write_text(json.dumps({"sha256": sha256}))
        (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"images": 1')
    (task,) = Page(htmlreport.page(files.read_all([tmp_path / "cards"]), [tmp_path / "cards"])).data["tasks"]
    curves = {row["name"]: row["curve"] for row in task["rows"]}
    assert curves["better"] is None
    assert set(curves["worse"]) == {"images", "loss"}
    assert len(curves["worse"]["loss"]) == len(curves["worse"]["images"]) <= 160
    assert curves["worse"]["images"] == sorted(curves["worse"]["images"])
    assert np.mean(curves["worse"]["loss"]) == pytest.approx(np.mean([line["loss"] for line in lines]), rel=0.05)


def test_the_spread_over_images_is_of_the_file_that_the_card_names(tmp_path: Path) -> None:
    nats = -np.linspace(50, 150, 101) * np.log(2)
    buffer = io.BytesIO()
    np.save(buffer, nats)
    for content, expected in ((buffer.getvalue(), 100 / 64), (buffer.getvalue() + b"x", None)):
        sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        one = card("a", likelihood(2.0, "="), nats_file={"name": "a.digits.nats.npy", "sha256": sha256})
        saved([one], tmp_path)
        (tmp_path / "cards" / "a.digits.nats.npy").write_bytes(content)
        (shown,) = Page(htmlreport.page([one], [tmp_path])).data["cards"]
        assert shown.get("spread", {}).get("50 %") == (None if expected is None else round(expected, 4))


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="no result cards"):
        htmlreport.write([], tmp_path / "report.html", [tmp_path])
    folder = saved(zoo_of_cards()[:1], tmp_path) / "cards"
    (folder / "newer.seed0.json").write_text(json.dumps(card("newer", schema_version=99).to_dict()))
    with pytest.raises(ZooError, match="schema 99"):
        htmlreport.write(files.read_all([tmp_path]), tmp_path / "report.html", [tmp_path])
    (folder / "newer.seed0.json").write_text(json.dumps(card("worse", likelihood(1.0, "=")).to_dict()))
    with pytest.raises(ZooError, match="two cards of one result"):
        htmlreport.write(files.read_all([tmp_path]), tmp_path / "report.html", [tmp_path])
    assert not (tmp_path / "report.html").exists()


def test_500_cards_take_less_than_5_seconds(tmp_path: Path) -> None:
    folder = many(tmp_path)
    began = time.process_time()  # of this process: on an idle machine the time that passes
    path = htmlreport.write(files.read_all([folder]), tmp_path / "report.html", [folder])
    assert time.process_time() - began < 5
    page = Page(path.read_text())
    assert sum(len(task["rows"]) for task in page.data["tasks"]) == len(page.data["images"]) == 500


def test_text_has_contrast_in_light_and_in_dark() -> None:
    (style,) = Page(htmlreport.page(zoo_of_cards())).styles
    colours = dict(re.findall(r"--(\w+): light-dark\((#\w+, #\w+)\)", style))
    for theme in (0, 1):
        shade = {name: _luminance(pair.split(", ")[theme]) for name, pair in colours.items()}
        for text in ("ink", "soft", "accent", "warm", "bad"):
            for paper in ("paper", "raised", "quiet", "wash"):
                assert _contrast(shade[text], shade[paper]) >= 4.5, (text, paper, theme)
        assert _contrast(shade["strong"], shade["paper"]) >= 3  # borders of controls


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_warnings_and_flags_are_seen_without_opening_a_cell_and_a_flag_ranks_nothing() -> None:
    few = distance(0.2, warning="N <= feature dimension", n_reference=5)
    found = [
        card("a", likelihood(2.0, "="), few, entry("nn_ratio_x", 0.1, flag=True)),
        card("b", likelihood(2.5, "="), entry("nn_ratio_x", 1.1, flag=False)),
    ]
    page = Page(htmlreport.page(found))
    lines = {cells[0]: " ".join(cells) for _, cells in board(page)}
    assert "!" in lines["a.digits"] and "flagged" in lines["a.digits"]
    assert "flagged" not in lines["b.digits"]
    assert str(page.text).count(" !") == 1
    assert "! fd_pixels: N <= feature dimension" in page.text
    assert "no floor in fd_pixels (train)" in page.text
    (task,) = page.data["tasks"]
    flag = next(i for i, column in enumerate(task["columns"]) if column["flag"])
    (title, members), *_ = sections.ordered(task["rows"], task["columns"], flag)
    assert (title, members) == ("all rows with nn_ratio_x: a warning, not a score; by name", [0, 1])


def test_published_values_stand_beside_a_likelihood_of_their_unit_alone() -> None:
    """A FID has no unit, and neither has coverage."""
    published = [
        {"value": 3.17, "unit": "", "protocol": "FID", "source": "a paper"},
        {"value": 1.9, "unit": "bits/dim", "protocol": "theirs", "source": "a paper"},
    ]
    page = htmlreport.page([card("a", entry("coverage", 0.9), likelihood(2.0, "="), published=published)])
    aside = page[page.index('class="aside"') :]
    assert "0.9000" not in aside[: aside.index("</table>")]
    assert "2.0000" in aside[: aside.index("</table>")]
