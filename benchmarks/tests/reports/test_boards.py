"""What a short table shows: the headline, models apart from reference rows, and the best only where it is proven."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from made_cards import card, distance, entry, likelihood, zoo_of_cards
from zoo_bench.baselines.specs import BASELINES
from zoo_bench.cards import files
from zoo_bench.cards.types import Card, Interval, Metric, Relation
from zoo_bench.evaluation import rows
from zoo_bench.reports import cells as words
from zoo_bench.reports import columns, modelpage, reference, tables
from zoo_bench.reports import html as htmlreport
from zoo_bench.reports.best import beats, known
from zoo_bench.reports.boards import Board, boards
from zoo_bench.reports.report import report

RESULTS = Path(__file__).parents[2] / "results"


def boards_of(found: list[Card], every: bool = False) -> list[Board]:
    (table,) = tables.tables(found)
    return boards(table, every)


def names(board: Board) -> list[str]:
    return [row.name for row in board.rows]


def heads(board: Board) -> list[str]:
    return words.header(board)


def test_a_table_shows_the_headline_against_the_test_images() -> None:
    found = [
        card("a", entry("nats", 88.0, "="), likelihood(2.0, "="), distance(0.1), distance(0.2, "test")),
        card("b", likelihood(2.5, "="), entry("coverage_x", 0.5, reference="test")),
    ]
    (short,) = boards_of(found)
    assert heads(short) == ["model", "family", "bits/dim", "fd pixels (test)", "params", "training"]
    assert [cell.text for cell in words.cells(short.rows[0], short)][2:4] == ["= 2.0000 ± 0.0100", "0.2000 ± 0.0100"]
    assert words.cells(short.rows[1], short)[3].text == "–"
    (long,) = boards_of(found, every=True)
    assert len(long.columns) == 5 and {"method", "images seen"} < set(heads(long))


def test_without_the_metrics_that_a_task_names_the_usual_ones_are_shown() -> None:
    """The first likelihood and the first distance; without these, what says which is better."""
    elsewhere = [card("a", *numbers, task="other@1/x") for numbers in [(likelihood(2.0, "="), entry("kl", 0.1, "="))]]
    (board,) = boards_of(elsewhere)
    assert [column.id for column in board.columns] == ["bits_per_dim"]
    train_only = [card("a", entry("precision", 0.3), distance(0.1), distance(0.2, "train+validation"), task="o@1/x")]
    (board,) = boards_of(train_only)
    assert [(column.id, column.reference) for column in board.columns] == [("fd_pixels", "train")]
    judged = [card(name, entry("nn", 0.1, flag=True), entry("bradley_terry", 0.3), task="judge@1/x") for name in "ab"]
    (board,) = boards_of(judged)
    assert [column.id for column in board.columns] == ["bradley_terry"]
    (board,) = boards_of([card("a", entry("nn", 0.1, flag=True), task="o@1/x")])
    assert [column.id for column in board.columns] == ["nn"]


def test_the_columns_of_a_long_table_stand_as_the_task_lists_them() -> None:
    found = [
        card("a", distance(0.1), entry("coverage", 0.5)),
        card(
            "b", entry("zzz", 1.0), distance(0.1), distance(0.2, "test"), entry("coverage", 0.5), likelihood(1.0, "=")
        ),
    ]
    (table,) = tables.tables(found)
    assert [column.title for column in table.columns] == [
        "bits_per_dim",
        "zzz",
        "fd_pixels (test)",
        "fd_pixels (train)",
        "coverage",
    ]


def test_models_under_labels_have_a_table_of_their_own() -> None:
    copied = entry("fd_pixels", 0.1, given="class", reference="train")
    found = [*zoo_of_cards(), card("copycat_given_labels", copied, family="constructed", given="class")]
    plain, others, given, given_others = boards_of(found)
    assert "given" not in names(plain) + names(others) and names(given) == ["given"]
    assert names(given_others) == ["copycat_given_labels"] and heads(given_others)[1:-1] == ["fd pixels (train)"]
    assert (plain.condition, given.condition) == ("", "given labels")
    assert [board.title for board in (plain, given)] == ["quick@1/digits", "quick@1/digits, given labels"]
    for board in (plain, given):
        assert heads(board).count("bits/dim") == 1
    assert all(column.conditioning == "class" for column in given.columns)


def test_reference_rows_stand_below_the_models_and_say_what_they_are_for() -> None:
    models, others, *_ = boards_of(zoo_of_cards())
    assert not models.reference and others.reference
    assert names(others) == ["training_images", "diluted"]
    assert not {"training_images", "diluted"} & set(names(models))
    assert heads(others)[0] == "reference row" and heads(others)[-1] == "purpose"
    assert words.cells(others.rows[0], others)[-1].text == reference.ROWS[rows.FLOOR]


def test_each_row_that_a_benchmark_brings_has_its_own_half_line() -> None:
    brought = [spec.name for spec in BASELINES] + list(rows.OF_IMAGES)
    assert set(reference.ROWS) == set(brought)
    assert len(set(reference.ROWS.values())) == len(brought) and max(map(len, reference.ROWS.values())) <= 60
    assert {spec.family for spec in BASELINES} < set(reference.FAMILIES)
    diluted = card("diluted", likelihood(2.0, "="), family="constructed")
    diluted = diluted.but(model=diluted.model.but(made_of="1 % made, 99 % uniform noise"))
    assert reference.purpose(diluted).startswith("1 % made, 99 % uniform noise: ")
    theirs = card("theirs", likelihood(2.0, "="), family="baseline")
    assert reference.purpose(theirs) == reference.FAMILIES["baseline"]


def test_what_no_likelihood_was_measured_of_is_not_said_to_have_none() -> None:
    """restore@1 measures none: its rows stand in the order of what it is known by, and so they do in the page."""
    found = [
        card(name, entry("precision", 0.1), entry("bradley_terry", value), task="judge@1/x")
        for name, value in (("low", 1.0), ("high", 3.0), ("middle", 2.0))
    ]
    (table,) = tables.tables(found)
    ((title, group),) = table.groups
    assert "likelihood" not in title and "best first" in title
    assert table.lead == next(column.key for column in table.columns if column.id == "precision")
    restored = [
        card(name, entry("restore_half_mse", value), entry("restore_half_psnr", -value), task="restore@1/digits")
        for name, value in (("low", 1.0), ("high", 3.0), ("middle", 2.0))
    ]
    (table,) = tables.tables(restored)
    ((title, group),) = table.groups
    assert title == "by restore half psnr, best first" and [row.name for row in group] == ["high", "middle", "low"]
    page = htmlreport.page(restored)
    assert page.index('data-model="high.digits"') < page.index('data-model="low.digits"')
    (gan,) = boards_of([card("gan", distance(0.1)), card("other", distance(0.2))])
    assert "likelihood" not in gan.groups[0][0]
    mixed = boards_of([card("gan", distance(0.1)), card("other", likelihood(2.0, "="))])
    assert mixed[0].groups[-1][0] == "no likelihood measured, by name"


def between(low: float, high: float, relation: Relation | None = None, name: str = "fd_pixels", **params) -> Metric:
    """A number with a 95 % interval."""
    middle = entry(name, (low + high) / 2, relation, **params)
    return middle.but(interval=Interval(level=0.95, method="normal", n=300, low=low, high=high))


def exact(value: float, relation: Relation | None = "=") -> Metric:
    """A number without an interval: summed over all images."""
    return entry("kl", value, relation).but(interval=None)


def seeds(low: float, high: float) -> Metric:
    one = between(low, high)
    return one.but(interval=Interval(method="standard deviation over 3 seeds", n=3, low=low, high=high))


@pytest.mark.parametrize(
    ("a", "b", "proven"),
    [
        (between(1.0, 2.0), between(3.0, 4.0), True),
        (between(3.0, 4.0), between(1.0, 2.0), False),
        (between(1.0, 3.0), between(2.0, 4.0), False),
        (between(1.0, 2.0), between(2.0, 3.0), False),  # they touch
        (between(1.0, 2.0, "="), between(3.0, 4.0, "="), True),
        (between(1.0, 2.0, "≤"), between(3.0, 4.0, "="), True),  # the bound's truth is lower still
        (between(1.0, 2.0, "≤"), between(1.5, 4.0, "="), False),
        (between(1.0, 2.0, "="), between(3.0, 4.0, "≤"), False),  # nobody knows how far below its bound it is
        (between(1.0, 2.0, "≤"), between(3.0, 4.0, "≤"), False),
        (between(1.0, 2.0, "≈"), between(3.0, 4.0, "="), False),
        (between(1.0, 2.0, "="), between(3.0, 4.0, "≈"), False),
        (exact(0.1), exact(0.2), True),
        (exact(0.1), exact(0.1), False),
        (exact(0.1, "≤"), exact(0.2), True),
        (exact(0.1), exact(0.2, "≤"), False),
        (exact(0.1, None), exact(0.2, None), False),  # KID: nobody said how sure it is
        (seeds(1.0, 2.0), seeds(3.0, 4.0), False),
        (between(3.0, 4.0, name="precision"), between(1.0, 2.0, name="precision"), True),
        (between(1.0, 2.0, name="precision"), between(3.0, 4.0, name="precision"), False),
    ],
)
def test_one_number_beats_another_only_where_that_is_proven(a: Metric, b: Metric, proven: bool) -> None:
    assert beats(a, b) is proven
    assert not (beats(a, b) and beats(b, a)) and not beats(a, a)


def test_a_bound_says_nothing_of_how_far_below_the_truth_is() -> None:
    assert known(between(1.0, 2.0, "≤")) == (-math.inf, 2.0)
    assert known(between(1.0, 2.0, "≈")) == (-math.inf, math.inf)


def best_of(*found: Card) -> set[str]:
    return {name for board in boards_of(list(found)) for name in board.best.values()}


def test_the_best_is_marked_where_it_beats_every_other_model() -> None:
    a, b, c = (card(name, between(low, low + 1.0)) for name, low in (("a", 1.0), ("b", 3.0), ("c", 5.0)))
    assert best_of(a, b, c) == {"a"}
    assert best_of(a, b, card("d", between(1.5, 2.5))) == set(), "two that nothing separates"
    assert best_of(a) == set(), "nothing to be better than"
    assert best_of(card("a", distance(None, reason="x").but(status="failed")), b) == set()
    values = [between(1.0, 2.0, relation, "bits_per_dim") for relation in ("=", "≤")]
    worse = card("b", between(3.0, 4.0, "=", "bits_per_dim"))
    assert best_of(card("a", values[0]), worse) == best_of(card("a", values[1]), worse) == {"a"}
    assert best_of(card("a", values[0]), card("b", between(3.0, 4.0, "≤", "bits_per_dim"))) == set()


def test_who_takes_no_part_is_neither_best_nor_in_the_way() -> None:
    """Reference rows, and numbers by an encoder that the model was trained against."""
    a, b = card("a", between(3.0, 4.0)), card("b", between(5.0, 6.0))
    for family in reference.FAMILIES:
        assert best_of(a, b, card("r", between(0.0, 1.0), family=family)) == {"a"}
    assert best_of(a, b, card("t", between(0.0, 1.0, trained_with=True))) == {"a"}
    known_by = card("t", between(0.0, 1.0, extractor="dinov2"))
    assert best_of(a, b, known_by) == {"t"}
    trained = known_by.but(model=known_by.model.but(trained_with=("dinov2",)))
    assert best_of(a, b, trained) == {"a"}
    (board,) = boards_of([a, b, trained])
    texts = [cell.text for row in board.rows for cell in words.cells(row, board)]
    assert sum(text.endswith("†") for text in texts) == 1 and "†" in words.legend([board], "Bold")
    flags = [card(name, entry("nn", value, flag=True), task="o@1/x") for name, value in (("a", 0.1), ("b", 9.0))]
    assert best_of(*flags) == set()


def test_models_under_labels_compete_among_themselves() -> None:
    given = [
        card(name, between(low, low + 1.0, given="class"), given="class") for name, low in (("x", 0.0), ("y", 9.0))
    ]
    plain = [card(name, between(low, low + 1.0)) for name, low in (("a", 3.0), ("b", 5.0))]
    assert best_of(*plain, *given) == {"a", "x"}


def test_each_form_marks_the_best_and_says_what_the_mark_means(tmp_path: Path) -> None:
    for name, low in (("a", 1.0), ("b", 3.0)):
        files.write(card(name, between(low, low + 1.0)), tmp_path)
    markdown, terminal = report(tmp_path).replace("\u00a0", " "), report(tmp_path, form="terminal")
    assert "| **1.5000 ± 0.5000** |" in markdown and "| 3.5000 ± 0.5000 |" in markdown
    assert "Bold: proven better than every other model" in markdown
    assert "* 1.5000 ± 0.5000" in terminal and "* 3.5000 ± 0.5000" not in terminal
    assert "*: proven better than every other model" in terminal
    files.write(card("c", between(1.0, 2.0)), tmp_path)
    assert "**1.5" not in report(tmp_path) and "No value is marked best" in report(tmp_path)


def test_heads_tell_columns_apart() -> None:
    one, other = distance(0.1, "test", n=1000), distance(0.1, "test", n=2000)
    other = other.but(comparable_key="a" * 64)
    (same,) = boards_of([card("a", one)])
    assert heads(same)[2] == "fd pixels (test)" and "on 1,000 samples" in words.legend([same], "Bold")
    (differ,) = boards_of([card("a", one), card("b", other)])
    assert sorted(heads(differ)[2:4]) == ["fd pixels (test), N=1,000", "fd pixels (test), N=2,000"]
    (twins,) = boards_of([card("a", one), card("b", one.but(comparable_key="a" * 64))])
    assert len(set(columns.heads(twins.columns))) == 2


def test_a_number_is_one_piece_and_a_reason_is_not() -> None:
    (board,) = boards_of([card("a", distance(0.1)), card("b", distance(None, reason="too few").but(status="failed"))])
    numbers = {row.name: words.cells(row, board)[2] for row in board.rows}
    assert numbers["a"].whole and not numbers["b"].whole


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "–"), (0.52, "0.5 s"), (9.96, "10 s"), (28.2, "28 s"), (59.4, "59 s"), (59.6, "1.0 min"), (192, "3.2 min"),
     (3596, "59.9 min"), (3599, "1.0 h"), (5040, "1.4 h")],
)  # fmt: skip
def test_how_long_a_training_took(seconds: float | None, said: str) -> None:
    assert words.duration(seconds) == said


def test_rows_of_one_name_are_told_apart_by_their_tags() -> None:
    found = [card("a", likelihood(2.0, "="), tag=tag) for tag in ("digits", "digits_other")]
    (table,) = tables.tables(found)
    assert {row.name for _, group in table.groups for row in group} == {"a (digits)", "a (digits_other)"}


def test_the_page_of_a_model_has_all_its_metrics_as_rows() -> None:
    own = [one for one in files.read_all([RESULTS]) if one.model.name == "ddpm"]
    lines = modelpage.listing(own)
    text = "\n".join(lines).replace("\u00a0", " ")
    of_small = text[text.index("**small@2/digits**") :].split("**toy@1")[0]
    (small,) = [one for one in own if one.task.id == "small@2/digits"]
    listed = [line for line in of_small.splitlines() if line.startswith("| ") and "metric" not in line]
    assert len(listed) == len(small.metrics)
    for metric in small.metrics:
        split = metric.params.reference or ""
        (line,) = [
            line for line in listed
            if line.startswith(f"| {metric.id} ") and split in line
        ]  # fmt: skip
        assert f"{metric.value:.{2 if metric.unit == 'nats/image' else 4}f}" in line
    assert "| metric | value | floor | copycat | N |" in of_small
    assert "**quick@1/digits, given labels**: ddpm (digits\\_cond)" in text or "ddpm (digits_cond)" in text
    given = text[text.index("given labels") :].split("**small")[0]
    assert "0.1358" in given and "0.1391" not in given, "the copycat under labels stands beside it"


def test_the_page_of_a_model_without_samples_has_no_floor() -> None:
    lines = modelpage.listing([card("a", likelihood(2.0, "="))])
    assert "| metric | value | N |" in lines and "floor" not in lines[-1]


PROTOCOL = {"method": "estimate", "estimator": "AIS", "distributions": 10_000, "chains": 100, "log_z": 451.25}


def test_how_far_an_estimate_can_be_trusted_stands_below_its_table() -> None:
    told = {**PROTOCOL, "effective_sample_size": 87.25, "log_z_standard_error": 0.0213}
    rbm = card("rbm", likelihood(1.2, "≈", **told), entry("nats", 80.0, "≈", **told), family="energy")
    (table,) = tables.tables([rbm, *zoo_of_cards()])
    line = "≈ rbm: AIS, effective sample size 87.2 of 100, log Z ± 0.021 (standard error)"
    assert words.below(table).count(line) == 1  # though two numbers are of one estimate
    assert [one for one in words.below(table, boards(table)) if "rbm" in one] == [line]
    assert line in modelpage.listing([rbm])
    silent = card("rbm", likelihood(1.2, "≈"))
    assert not [one for one in words.below(*tables.tables([silent])) if "≈" in one]
