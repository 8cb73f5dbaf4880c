"""A card carries its protocol, a rerun finishes only what is missing, and what is not comparable is never ranked."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from made_cards import card as made_card
from made_cards import likelihood
from zoo_bench import Card, bench, evaluate, metric, report, train
from zoo_bench.cards import files
from zoo_bench.cards.card import comparable_key
from zoo_bench.cards.types import Relation
from zoo_bench.datasets import load as datasets
from zoo_bench.evaluation.model import Wanted, evaluate_model
from zoo_bench.evaluation.rows import best_exact, copycat_given_labels, floor, floor_given_labels
from zoo_bench.metrics.measure import measure
from zoo_bench.metrics.measured import Measured
from zoo_bench.reports import cells as words
from zoo_bench.reports import tables as reporting
from zoo_bench.reports.boards import boards
from zoo_bench.reports.report import fill_blocks
from zoo_bench.reports.tables import tables
from zoo_bench.tasks import suites

import zoo_core
from zoo_core import GenerativeModel, ZooError

GOLDEN = {
    "quick@1": "7109804759d0d3df23ae5581452bcddfc111852962e37729bb9e759a7895f312",
    "mnist-nll@1": "74d85a87636b41343f78c9bc6929125d61e2dc7d0aa7c5fbdd1dfee549d1fdfb",
    "toy@1": "18bb345a0084fb5da3748b8388f89b97ad72bb8523b359b28e0afaed9a0f5df5",
    "small@2": "80334ddd051ee99beb52b53f743b0cb35998d3fcd0584c0fbfe4921c6f1da9fd",
    "small-gpu@2": "360a61e7c0b7762eb635c55d724a4378079840e8122ed32b22f2a1d5a74e009c",
    "restore@1": "dbeebff665dcd9e0e4290166864b2c035b37c0efb62b5b79a7a5c21e40cc92fe",
    "cifar10@2": "373858ae2547025da918384da2cc7888d2f4ca66b645ea14b40c56e5fad99392",
    "emoji@2": "8b505b7fdbbddf48eed97e0f9c9c4ba326e3d73c3be034ec6af1053ac3dede44",
    "codes@1": "fc3865ffe0b2151233583debd981692f538795a7d4a2691dfbae7ea1b3930761",
    "drawing@1": "eb0682fd1e5f9ef4e9f13a029a8e2243ac5d28e1d952781a3fcf8ebe7f047a0e",
    "modes@1": "915660fb85bfad80cb69bffe0b3382ad82978e8f81c8e16edc4ab87c5b18f4f7",
}


def test_suites_do_not_change_without_a_new_version() -> None:
    assert {name: suites.load(name).protocol_sha256() for name in suites.list_suites()} == GOLDEN


def test_a_suite_that_was_edited_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version says what it is no more; under a new one it is a suite like any other."""
    assert json.loads((suites._folder() / "golden.json").read_text()) == GOLDEN
    shutil.copytree(suites._folder(), tmp_path / "tasks")
    monkeypatch.setattr(suites, "_folder", lambda: tmp_path / "tasks")
    file = tmp_path / "tasks" / "suites" / "quick.toml"
    text = file.read_text()
    assert "draws = 16" in text
    file.write_text(text.replace("draws = 16", "draws = 1"))
    with pytest.raises(ZooError, match="quick@1 was edited"):
        bench("quick", out=tmp_path / "out", quiet=True)
    file.write_text(text.replace("draws = 16", "draws = 1").replace("version = 1", "version = 2"))
    assert suites.load("quick").id == "quick@2"


def test_unknown_suites_and_versions() -> None:
    with pytest.raises(ZooError, match="unknown suite 'quik'; did you mean 'quick'"):
        bench("quik", quiet=True)
    with pytest.raises(ZooError, match="this zoo has quick@1"):
        bench("quick@7", quiet=True)
    with pytest.raises(ZooError, match="unknown model 'maed'; did you mean 'made'"):
        bench("quick", models="maed", quiet=True)


def test_the_table_has_all_rows_grouped_by_relation(benched: Path) -> None:
    (table,) = tables(files.read_all([benched / "cards"]))
    names = {title[:5]: [row.name for row in rows] for title, rows in table.groups}
    assert names["exact"] == ["class_mixture", "diluted", "independent_pixels", "uniform", "copycat"]
    assert names["bound"] == ["gaussian", "gmm"]
    assert names["no li"] == ["training_images"]
    assert (benched / "cards" / "gmm.digits.quick-v1-digits.seed0.png").stat().st_size > 1000


def test_a_number_of_another_protocol_gets_a_column_of_its_own(benched: Path) -> None:
    found = files.read_all([benched / "cards"])
    keys = [comparable_key({"metric": entry.id, "n": 17, "at": i}) for i, entry in enumerate(found[0].metrics)]
    metrics = tuple(entry.but(comparable_key=key) for entry, key in zip(found[0].metrics, keys))
    stranger = found[0].but(model=found[0].model.but(name="stranger"), metrics=metrics)
    (plain,), (mixed,) = tables(found), tables([*found, stranger])
    assert len(mixed.columns) > len(plain.columns)
    row = next(row for _, rows in mixed.groups for row in rows if row.name == "stranger")
    assert not set(row.values) & {column.key for column in plain.columns}


def test_partial_cards_never_enter_a_table(tmp_path: Path) -> None:
    result = bench("quick", models="made", out=tmp_path, quiet=True, settings={"images": 200})
    (table,) = tables(result.cards)
    assert not any(row.name == "made" for _, rows in table.groups for row in rows)
    assert any(card.model.name == "made" and card.partial for card in result.cards)


def test_a_data_set_that_a_suite_does_not_score_is_refused() -> None:
    with pytest.raises(ZooError, match=r"unknown task 'digits_rotated'.*quick@1"):
        evaluate("gmm.digits", "quick", data="digits_rotated", limit=9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ""}, "globs separated by commas"),
        ({"settings": {"images": 0}}, "images"),
        ({"settings": {"images": 9}, "pretrained": True}, "trained already"),
    ],
)
def test_bad_requests_are_refused_before_any_work(options, message: str, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=message):
        bench("quick", out=tmp_path / "out", quiet=True, **{"models": "gmm", **options})
    assert not (tmp_path / "out").exists()


def test_the_floor_stands_in_the_columns_of_all_where_training_images_are_few() -> None:
    """small@2/digits draws 2,000 samples, and there are 1,297 training images: 703 of them twice."""
    suite = suites.load("small/digits")
    task = suite.tasks[0]
    row = floor(suite, task)
    test, references = datasets.load("digits", "test"), [datasets.load("digits", name) for name in task.references]
    x = torch.randint(17, (task.samples, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = measure(Measured(task, suite.task_id(task), test, test.pinned, samples=x, references=references))
    assert {entry.comparable_key for entry in row.metrics} == {entry.comparable_key for entry in model}
    assert row.data.n == 1297
    assert row.model.made_of == "2000 images of split train, 1297 of them distinct"


def test_models_that_draw_under_labels_have_a_floor_and_a_copycat_in_their_columns() -> None:
    """small@2/digits: the same keys as samples with labels, near the training images, the right classes."""
    suite = suites.load("small/digits")
    task = suite.tasks[0]
    test, references = datasets.load("digits", "test"), [datasets.load("digits", name) for name in task.references]
    train = references[0].pinned
    rows = torch.randint(len(train), (task.samples,), generator=torch.Generator().manual_seed(0))
    x, labels = train.x[rows], train.labels[rows]
    measured = Measured(
        task, suite.task_id(task), test, test.pinned, "class", samples=x, references=references, labels=labels
    )
    keys = {entry.comparable_key for entry in measure(measured)}
    for row in (floor_given_labels, copycat_given_labels):
        card = row(suite, task)
        assert {entry.comparable_key for entry in card.metrics} == keys
        by_id = {(entry.id, entry.params.reference): entry for entry in card.metrics}
        assert by_id["class_accuracy_digitscnn", None].value > 0.95
        assert by_id["fd_pixels", "train"].value < 0.05 < by_id["fd_pixels", "test"].value
        assert by_id["nn_ratio_pixels", "train"].params.flag


def test_a_benchmark_of_a_conditional_model_has_these_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = suites.load("quick")
    entry = metric("x", 1, 1.0, unit="", relation=None, interval=None, identity={})
    card = made_card("given", entry, given="class")
    monkeypatch.setattr("zoo_bench.evaluation.bench.Job.run", lambda self, say: card)
    names = {card.model.name for card in bench("quick", models="uniform", out=tmp_path, quiet=True).cards}
    assert {"training_images", "training_images_given_labels", "copycat_given_labels"} <= names
    assert len(files.read_all([tmp_path])) == 3
    assert suite.baselines[-1] == "copycat"


def test_the_best_exact_likelihood_is_of_one_quantity_under_no_condition() -> None:
    """Neither a small KL divergence nor log P(x | label) makes a model the best."""

    def card(name: str, given: str = "none", **fields: float) -> Card:
        units = {"kl": "nats", "bits_per_dim": "bits/dim", "nats": "nats/image"}
        metrics = [
            metric(key, 1, value, unit=units[key], relation="=", interval=None, identity={})
            for key, value in fields.items()
        ]
        return made_card(name, *metrics, given=given, task="t")

    given = card("given", "class", bits_per_dim=0.1)
    best = best_exact([card("a", kl=0.1, bits_per_dim=2.0), card("b", kl=0.2, bits_per_dim=1.0), given], "t")
    assert best is not None
    assert best.model.name == "b"
    assert best_exact([card("gan", kl=0.1)], "t") is None


def test_a_failed_training_leaves_a_failed_card_and_the_rest_goes_on(tmp_path: Path) -> None:
    result = bench("quick", models="vae", out=tmp_path, quiet=True, settings={"lr": 1e18, "ema": 0})
    (failed,) = result.failed
    assert failed.model.name == "vae"
    assert "lower learning rate" in failed.error
    assert len(result.cards) == 8
    assert "vae.digits: failed" in report([tmp_path / "cards"])


def test_reports_in_three_forms(benched: Path) -> None:
    markdown = report([benched / "cards"], form="markdown").replace("\u00a0", " ")
    assert "= 2.4320 ± 0.0240" in markdown
    assert "≤ 2.9" in markdown
    rows = list(csv.DictReader(io.StringIO(report([benched / "cards"], form="csv"))))
    uniform = next(row for row in rows if row["model"] == "uniform" and row["metric"] == "bits_per_dim")
    assert float(uniform["value"]) == pytest.approx(4.087463, abs=1e-6)
    assert uniform["relation"] == "="
    terminal = report([benched / "cards"], form="terminal")
    assert " – " in terminal and "– was not measured" in terminal
    with pytest.raises(ZooError, match="no result cards"):
        report([benched / "runs"])
    with pytest.raises(ZooError, match="does not exist"):
        report([benched / "nowhere"])


def test_blocks_are_filled_from_cards(benched: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin results: gmm -->\nold\n<!-- end results -->\nafter\n")
    found = files.read_all([benched / "cards"])
    assert not fill_blocks(page, found, check=True)
    assert "old" in page.read_text()
    assert not fill_blocks(page, found)
    assert fill_blocks(page, found)
    text = page.read_text()
    assert ": gmm.digits; 9,030 parameters" in text and "| fd_pixels (test) |" in text
    assert "uniform" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    empty = "<!-- begin results: nobody -->\n<!-- end results -->\n"
    page.write_text(empty)
    assert fill_blocks(page, found)
    assert page.read_text() == empty, "the block of a new model waits for its first card"
    page.write_text("<!-- begin results: nobody -->\nold\n<!-- end results -->\n")
    with pytest.raises(ZooError, match="no result card for 'nobody'"):
        fill_blocks(page, found)


def test_evaluate_says_what_it_cannot_score(recipe, tmp_path: Path) -> None:
    run = train(recipe(images=200), out=tmp_path / "run", quiet=True)
    card = evaluate(str(run.weights), limit=20)
    assert card.partial
    assert card.metrics[0].interval.n == 20
    assert evaluate(str(run.weights), split="validation", limit=20).data.split == "validation"
    with pytest.raises(ZooError, match="unknown suite 'quck'"):
        evaluate(str(run.weights), "quck")
    with pytest.raises(ZooError, match="at least 2 images"):
        evaluate(str(run.weights), limit=1)
    binary = zoo_core.ImageSpec(channels=1, height=8, width=8, levels=2)
    zoo_core.weights.save(zoo_core.create("uniform", binary), tmp_path / "binary", "uniform")
    with pytest.raises(ZooError, match=r"made for images of 1x8x8, 2 levels; digits has .* levels or size differ"):
        evaluate(str(tmp_path / "binary"), "quick")


def test_evaluating_twice_gives_the_same_numbers(benched: Path) -> None:
    name = str(benched / "runs" / "gmm.digits" / "weights")
    first, second = evaluate(name), evaluate(name)
    assert first.sampling.sha256 == second.sampling.sha256
    assert [entry.value for entry in first.metrics] == [entry.value for entry in second.metrics]


def test_no_order_is_suggested_between_bounds() -> None:
    def card(name: str, relation: Relation, value: float) -> Card:
        return made_card(name, likelihood(value, relation))

    (table,) = tables([card("b", "≤", 1.0), card("a", "≤", 9.0), card("z", "=", 1.0), card("y", "=", 2.0)])
    assert [[row.name for row in rows] for _, rows in table.groups] == [["z", "y"], ["a", "b"]]
    assert reporting.GROUPS["≤"].endswith("by name")
    (board,) = boards(table)
    assert "two bounds are never ordered" in words.legend([board], "Bold")


class Conditional(GenerativeModel):
    """log P(x | label) of one table a class; samples of class 0."""

    conditioning = "class"

    def __init__(self) -> None:
        super().__init__(datasets.load("digits").images, zoo_core.spec("uniform").config)
        self.register_buffer("nats", -torch.arange(1.0, 11.0, dtype=torch.float64))

    def log_prob(self, x, *, labels=None, text=None):
        self.check(x, labels, text)
        return self.nats[labels]

    def sample(self, n, *, labels=None, text=None, generator=None):
        assert len(labels) == n, "asked for under the labels of training images"
        return torch.zeros(n, *self.images.shape, dtype=torch.uint8)

    def train_step(self, batch, step):
        return {}


def test_conditional_models_are_scored_under_labels_and_never_beside_the_others() -> None:
    suite = suites.load("quick")
    (task,) = suite.tasks
    known = {"tag": "digits"}
    card = evaluate_model(Conditional(), "uniform", Wanted(suite, task, limit=50), known)
    labels = datasets.load("digits", "test").pinned.labels[:50]
    entries = {entry.id: entry for entry in card.metrics}
    assert entries["nats"].value == pytest.approx(float((labels + 1).double().mean()))
    assert card.model.conditioning == "class"
    plain = evaluate_model(
        zoo_core.create("uniform", datasets.load("digits").images), "uniform", Wanted(suite, task, limit=50), known
    )
    keys = {entry.comparable_key for entry in card.metrics}
    assert not keys & {entry.comparable_key for entry in plain.metrics}


def test_another_protocol_s_exact_value_is_not_ranked_among_these(benched: Path) -> None:
    """log P(x | label), lower than all others, does not stand above them under "best first"."""
    found = files.read_all([benched / "cards"])
    uniform = next(card for card in found if card.model.name == "uniform")
    other = uniform.but(
        model=uniform.model.but(name="given", conditioning="class"),
        metrics=tuple(entry.but(comparable_key=f"{i:x}" * 64, value=0.5) for i, entry in enumerate(uniform.metrics)),
    )
    (table,) = tables([other, *found])
    names = [row.name for row in table.groups[0][1]]
    assert names.index("class_mixture") < names.index("independent_pixels") < names.index("uniform")
    assert names.index("given") in (0, len(names) - 1)
    titles = [column.title for column in table.columns if column.title.startswith("bits_per_dim")]
    assert sorted(titles) == ["bits_per_dim", "bits_per_dim given labels"]


def test_a_conditional_model_needs_labels_to_be_scored() -> None:
    model = Conditional()
    model.images = datasets.load("moons").images
    suite, task = suites.find_task("moons")
    with pytest.raises(ZooError, match="Conditional is conditional, but data set moons has no labels"):
        evaluate_model(model, "uniform", Wanted(suite, task, limit=50), {"tag": None})


def test_several_seeds_are_several_cards_and_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = suites.load("quick")
    task = dataclasses.replace(suite.tasks[0], seeds=(0, 1, 2), samples=200)
    assert task.sha256() != dataclasses.replace(task, seeds=()).sha256()
    three = dataclasses.replace(suite, tasks=(task,), baselines=("uniform",))
    monkeypatch.setattr(suites, "load", lambda name: three)
    result = bench("quick", models="gmm", out=tmp_path, quiet=True)
    own = {card.seed: card for card in result.cards if card.model.name == "gmm"}
    assert list(own) == [0, 1, 2]
    assert len({card.sampling.sha256 for card in own.values()}) == 3
    assert len({card.model.weights.sha256 for card in own.values()}) == 1  # trained once
    assert [entry.id for entry in own[0].metrics] == ["bits_per_dim", "nats", "fd_pixels", "fd_pixels"]
    assert [entry.id for entry in own[2].metrics] == ["fd_pixels", "fd_pixels"]
    (table,) = tables(result.cards)
    (row,) = (row for _, rows in table.groups for row in rows if row.name == "gmm")
    key = own[0].metrics[2].comparable_key
    values = [next(e.value for e in card.metrics if e.comparable_key == key) for card in own.values()]
    assert row.values[key].value == pytest.approx(np.mean(values))
    assert row.values[key].interval.half_width == pytest.approx(np.std(values, ddof=1))
    assert "(3 seeds)" in report([tmp_path / "cards"]).replace("\u00a0", " ")
    said: list[str] = []
    (tmp_path / "cards" / f"{own[1].stem}.json").unlink()
    bench("quick", models="gmm", out=tmp_path, quiet=True, say=said.append)
    assert said.count("gmm.digits: evaluating") == 1
    assert not any("training" in line for line in said)


def test_seeds_do_not_change_what_older_suites_are() -> None:
    task = suites.load("quick").tasks[0]
    assert "seeds" in task.to_dict()
    assert "seeds" not in task.definition()
    assert task.sampling_seeds == (0,)


def test_one_task_of_a_suite(tmp_path: Path) -> None:
    """Its id, version and hash are those of the whole suite's task."""
    whole, part = suites.load("small"), suites.load("small@2/digits")
    assert part.tasks == (whole.tasks[0],)
    assert part.task_id(part.tasks[0]) == "small@2/digits"
    with pytest.raises(ZooError, match=r"small@2/fashion"):
        suites.load("small/fashoin")


def test_a_narrow_terminal_gets_the_columns_in_pieces() -> None:
    """Nothing is wrapped or lost, and each piece names the model."""
    folder = Path(__file__).parents[2] / "results"
    wide, narrow = (report([folder], form="terminal", width=width, columns="all") for width in (1000, 70))
    assert max(map(len, narrow.splitlines())) <= 70 < 130 < max(map(len, wide.splitlines()))
    assert narrow.count("\ngated_pixelcnn ") > wide.count("\ngated_pixelcnn ")
    numbers = [
        metric.value for card in files.read_all([folder]) for metric in card.metrics if metric.id == "bits_per_dim"
    ]
    assert numbers and all(
        f"{number:.4f}" in wide and f"{number:.4f}" in narrow for number in numbers if number is not None
    )
