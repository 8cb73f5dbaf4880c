"""A card carries its protocol, a rerun finishes only what is missing, and what is not comparable is never ranked."""

from __future__ import annotations

import copy
import csv
import dataclasses
import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from zoo_bench import bench, cards, evaluate, report, reporting, suites, train
from zoo_bench import data as datasets
from zoo_bench.evaluation import evaluate_model
from zoo_bench.metrics import Measured, measure
from zoo_bench.reporting import fill_blocks, tables
from zoo_bench.rows import best_exact, copycat_given_labels, floor, floor_given_labels

import zoo_core
from zoo_core import GenerativeModel, ZooError
from zoo_core.likelihood import LikelihoodResult

GOLDEN = {
    "quick@1": "7109804759d0d3df23ae5581452bcddfc111852962e37729bb9e759a7895f312",
    "mnist-nll@1": "74d85a87636b41343f78c9bc6929125d61e2dc7d0aa7c5fbdd1dfee549d1fdfb",
    "toy@1": "18bb345a0084fb5da3748b8388f89b97ad72bb8523b359b28e0afaed9a0f5df5",
    "small@1": "0ee66cf5a4f2b84be10e57f5dfb716998add54128619eea33a9e0565d6cbc92a",
    "small-gpu@1": "5622ef8d84ae73f906ceab6bc3cdf949057d86dc0c659273cd32eee957fc93a3",
    "restore@1": "dbeebff665dcd9e0e4290166864b2c035b37c0efb62b5b79a7a5c21e40cc92fe",
    "cifar10@1": "1609ae00e1a40ce06e60db1174926167650686f4532cac4d595363f706960d4e",
    "emoji@1": "22be87ca17f4deb8dc62de2992a9611a31e0068e7b4462d4ff3081c128fe34d1",
}


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The baselines of the quick suite and a small learned model."""
    folder = tmp_path_factory.mktemp("bench")
    result = bench("quick", models="gmm", out=folder, quiet=True)
    assert not result.failed
    return folder


def test_suites_do_not_change_without_a_new_version() -> None:
    assert {name: suites.load(name).protocol_sha256() for name in suites.list_suites()} == GOLDEN


def test_a_suite_that_was_edited_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version says what it is no more; under a new one it is a suite like any other."""
    assert json.loads((suites._folder() / "golden.json").read_text()) == GOLDEN
    shutil.copytree(suites._folder(), tmp_path / "suites")
    monkeypatch.setattr(suites, "_folder", lambda: tmp_path / "suites")
    file = tmp_path / "suites" / "quick.toml"
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
    with pytest.raises(ZooError, match="unknown model 'mdae'; did you mean 'made'"):
        bench("quick", models="mdae", quiet=True)


def test_the_table_has_all_rows_grouped_by_relation(benched: Path) -> None:
    (table,) = tables(cards.read_all([benched / "cards"]))
    names = {title[:5]: [row.name for row in rows] for title, rows in table.groups}
    assert names["exact"] == ["class_mixture", "diluted", "independent_pixels", "uniform", "copycat"]
    assert names["upper"] == ["gaussian", "gmm"]
    assert names["no li"] == ["training_images"]
    assert (benched / "cards" / "gmm.digits.quick-v1-digits.seed0.png").stat().st_size > 1000


def test_a_card_carries_its_protocol(benched: Path) -> None:
    card = cards.read(benched / "cards" / "gmm.digits.quick-v1-digits.seed0.json")
    assert card["task"]["sha256"] == suites.load("quick").tasks[0].sha256()
    assert card["model"]["plugin"] == "zoo-mixture"
    assert card["sampling"]["n"] == 1000
    by_id = {(entry["id"], entry["params"].get("reference")): entry for entry in card["metrics"]}
    bits = by_id["bits_per_dim", None]
    assert bits["relation"] == "≤"
    assert bits["params"]["method"] == "dequant-16"
    assert bits["interval"]["low"] < bits["value"] < bits["interval"]["high"]
    nats = np.load(benched / "cards" / card["nats_file"]["name"])
    assert nats.shape == (300,)
    assert nats.dtype == np.float64
    assert -nats.mean() / (64 * np.log(2)) == pytest.approx(bits["value"], rel=1e-12)
    assert by_id["fd_pixels", "train"]["comparable_key"] != by_id["fd_pixels", "test"]["comparable_key"]
    assert "NaN" not in (benched / "cards" / "gmm.digits.quick-v1-digits.seed0.json").read_text()


def test_models_share_keys_so_they_share_columns(benched: Path) -> None:
    found = cards.read_all([benched / "cards"])
    keys = {entry["comparable_key"] for card in found for entry in card["metrics"] if entry["id"] == "bits_per_dim"}
    assert len(keys) == 1
    floor = next(card for card in found if card["model"]["family"] == "floor")
    gmm = next(card for card in found if card["model"]["name"] == "gmm")
    assert floor["metrics"][0]["comparable_key"] in {entry["comparable_key"] for entry in gmm["metrics"]}


def test_a_number_of_another_protocol_gets_a_column_of_its_own(benched: Path) -> None:
    found = cards.read_all([benched / "cards"])
    stranger = copy.deepcopy(found[0])
    stranger["model"]["name"] = "stranger"
    for entry in stranger["metrics"]:
        entry["comparable_key"] = cards.comparable_key({"metric": entry["id"], "n": 17})
    (plain,), (mixed,) = tables(found), tables([*found, stranger])
    assert len(mixed.columns) > len(plain.columns)
    row = next(row for _, rows in mixed.groups for row in rows if row.name == "stranger")
    assert not set(row.values) & {column.key for column in plain.columns}


def test_a_finished_card_is_not_computed_again(benched: Path) -> None:
    path = benched / "cards" / "gmm.digits.quick-v1-digits.seed0.json"
    before = path.stat().st_mtime_ns
    said: list[str] = []
    bench("quick", models="gmm", out=benched, quiet=True, say=said.append)
    assert path.stat().st_mtime_ns == before
    assert "gmm.digits: its card is there already" in said
    path.unlink()
    bench("quick", models="gmm", out=benched, quiet=True, say=said.append)
    assert path.exists()
    assert not any("training" in line for line in said)  # its weights were there: only the evaluation was missing


def test_another_suite_in_the_same_folder_leaves_the_cards_alone(benched: Path, tmp_path: Path) -> None:
    shutil.copytree(benched, tmp_path / "both")
    held = {path.name: path.read_bytes() for path in (tmp_path / "both" / "cards").glob("*.json")}
    bench("restore/digits", models="bmm", pretrained=True, out=tmp_path / "both", quiet=True)
    assert (
        held.items() <= {path.name: path.read_bytes() for path in (tmp_path / "both" / "cards").glob("*.json")}.items()
    )


def test_partial_cards_never_enter_a_table(tmp_path: Path) -> None:
    result = bench("quick", models="made", out=tmp_path, quiet=True, settings={"images": 200})
    (table,) = tables(result.cards)
    assert not any(row.name == "made" for _, rows in table.groups for row in rows)
    assert any(card["model"]["name"] == "made" and card["partial"] for card in result.cards)


def test_a_short_run_is_never_taken_for_the_real_one(tmp_path: Path) -> None:
    """A budget of one's own, then the suite as it is, then the published weights, all in one folder."""

    def gmm(**options) -> dict:
        found = bench("quick", models="gmm", out=tmp_path, quiet=True, **options).cards
        return next(card for card in found if card["model"]["name"] == "gmm")

    short, real, published = gmm(settings={"images": 3_000}), gmm(), gmm(pretrained=True)
    assert short["partial"]
    assert not real["partial"]
    assert short["model"]["images_seen"] < 5_000 < real["model"]["images_seen"]
    assert real["model"]["recipe"]["images"] == 40_000
    assert published["model"]["weights"]["sha256"] == zoo_core.spec("gmm").pretrained[0].sha256


def test_a_trial_leaves_the_real_training_alone(tmp_path: Path) -> None:
    """A smaller budget in the folder of a finished benchmark: both keep their weights and their cards."""
    bench("quick", models="gmm", out=tmp_path, quiet=True)
    run = tmp_path / "runs" / "gmm.digits"
    kept = [*run.rglob("*.*"), *(tmp_path / "cards").glob("gmm.digits.*"), *(tmp_path / "cards").glob("diluted.*")]
    before = {path: path.read_bytes() for path in kept if path.is_file()}
    trial = bench("quick", models="gmm", out=tmp_path, quiet=True, settings={"images": 3_000})
    assert {path: path.read_bytes() for path in before} == before
    assert next(card for card in trial.cards if card["model"]["name"] == "gmm")["partial"]
    files = {path.name.removeprefix("gmm.digits.") for path in (tmp_path / "cards").glob("gmm.digits.*.partial.*")}
    assert files == {f"quick-v1-digits.seed0.partial.{end}" for end in ("json", "png", "nats.npy")}


def test_a_trial_of_the_recipe_s_own_length_is_a_trial(tmp_path: Path) -> None:
    bench("quick", models="gmm", out=tmp_path, quiet=True, settings={"images": 40_000})
    result = bench("quick", models="gmm", out=tmp_path, quiet=True)
    assert not next(card for card in result.cards if card["model"]["name"] == "gmm")["partial"]


def test_a_card_whose_nats_are_gone_is_made_again(benched: Path, tmp_path: Path) -> None:
    shutil.copytree(benched, tmp_path / "out")
    file = tmp_path / "out" / "cards" / "gmm.digits.quick-v1-digits.seed0.nats.npy"
    before = file.read_bytes()
    file.unlink()
    bench("quick", models="gmm", out=tmp_path / "out", quiet=True)
    assert file.read_bytes() == before


def test_so_is_that_of_the_diluted_row_and_other_seeds_stay(tmp_path: Path) -> None:
    bench("quick", models="bmm", pretrained=True, out=tmp_path, quiet=True, seeds=2)
    folder = tmp_path / "cards"
    before = {path: path.read_bytes() for path in folder.glob("*.npy")}
    other = (folder / "bmm.digits.quick-v1-digits.seed1.json").read_bytes()
    for path in before:
        path.unlink()
    said: list[str] = []
    bench("quick", models="bmm", pretrained=True, out=tmp_path, quiet=True, say=said.append)
    assert {path: path.read_bytes() for path in folder.glob("*.npy")} == before
    assert (folder / "bmm.digits.quick-v1-digits.seed1.json").read_bytes() == other
    assert not any("replaced" in line for line in said)


def test_the_diluted_row_is_of_the_best_model_in_the_folder(benched: Path, tmp_path: Path) -> None:
    shutil.copytree(benched, tmp_path / "out")
    bench("quick", models="bmm", pretrained=True, out=tmp_path / "out", quiet=True)
    bench("quick", models="gmm", out=tmp_path / "out", quiet=True)
    card = cards.read(tmp_path / "out" / "cards" / "diluted.digits.quick-v1-digits.seed0.json")
    assert card["model"]["made_of"] == "1 % bmm, 99 % uniform noise"


def test_a_training_from_before_a_field_came_is_still_the_same(benched: Path, tmp_path: Path) -> None:
    """Neither trained again nor refused: the field has its default."""
    shutil.copytree(benched, tmp_path / "out")
    run = tmp_path / "out" / "runs" / "gmm.digits" / "run.json"
    card = tmp_path / "out" / "cards" / "gmm.digits.quick-v1-digits.seed0.json"
    for path, part in ((run, "identity"), (card, "model")):
        known = json.loads(path.read_text())
        assert known[part]["recipe"].pop("clip") == 0.0
        del known[part]["config"][max(known[part]["config"])]
        path.write_text(json.dumps(known))
    said: list[str] = []
    bench("quick", models="gmm", out=tmp_path / "out", quiet=True, say=said.append)
    assert "gmm.digits: its card is there already" in said


def test_an_edited_suite_is_refused_before_any_work(tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    text = 'name = "mine"\nversion = 1\nbaselines = ["uniform"]\n[[tasks]]\nid = "digits"\ndata = "digits"\n'
    suite.write_text(f'{text}metrics = ["bits_per_dim"]\ndraws = 1\n')
    bench(str(suite), models="uniform", out=tmp_path / "out", quiet=True)
    held = {path: path.read_bytes() for path in (tmp_path / "out" / "cards").iterdir()}
    suite.write_text(f'{text}metrics = ["bits_per_dim"]\ndraws = 2\n')
    with pytest.raises(ZooError, match=r"mine@1/digits as it was defined before: raise the suite's version"):
        bench(str(suite), models="uniform", out=tmp_path / "out", quiet=True)
    assert {path: path.read_bytes() for path in (tmp_path / "out" / "cards").iterdir()} == held
    bench(str(suite), models="uniform", out=tmp_path / "out", quiet=True, again=True)


def test_a_data_set_that_a_suite_does_not_score_is_refused() -> None:
    with pytest.raises(ZooError, match=r"unknown task 'digits_rotated'.*quick@1"):
        evaluate("gmm.digits", "quick", data="digits_rotated", limit=9)


def test_the_training_of_a_recipe_that_changed_is_not_replaced_unasked(tmp_path: Path) -> None:
    bench("quick", models="gmm", out=tmp_path, quiet=True, settings={"images": 3_000})
    (tmp_path / "runs" / "gmm.digits.images-3000").rename(tmp_path / "runs" / "gmm.digits")
    before = (tmp_path / "runs" / "gmm.digits" / "run.json").read_bytes()
    with pytest.raises(ZooError, match=r"gmm\.digits by another recipe \(finished\).*--again"):
        bench("quick", models="gmm", out=tmp_path, quiet=True)
    assert (tmp_path / "runs" / "gmm.digits" / "run.json").read_bytes() == before
    bench("quick", models="gmm", out=tmp_path, quiet=True, again=True)
    assert json.loads((tmp_path / "runs" / "gmm.digits" / "run.json").read_text())["identity"]["recipe"]["images"] > 3e4


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
    """small@1/digits draws 2,000 samples, and there are 1,297 training images: 703 of them twice."""
    suite = suites.load("small/digits")
    task = suite.tasks[0]
    row = floor(suite, task)
    test, references = datasets.load("digits", "test"), [datasets.load("digits", name) for name in task.references]
    x = torch.randint(17, (task.samples, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = measure(Measured(task, suite.task_id(task), test, test.pinned, samples=x, references=references))
    assert {entry["comparable_key"] for entry in row["metrics"]} == {entry["comparable_key"] for entry in model}
    assert row["data"]["n"] == 1297
    assert row["model"]["made_of"] == "2000 images of split train, 1297 of them distinct"


def test_models_that_draw_under_labels_have_a_floor_and_a_copycat_in_their_columns() -> None:
    """small@1/digits: the same keys as samples with labels, near the training images, the right classes."""
    suite = suites.load("small/digits")
    task = suite.tasks[0]
    test, references = datasets.load("digits", "test"), [datasets.load("digits", name) for name in task.references]
    train = references[0].pinned
    rows = torch.randint(len(train), (task.samples,), generator=torch.Generator().manual_seed(0))
    x, labels = train.x[rows], train.labels[rows]
    measured = Measured(
        task, suite.task_id(task), test, test.pinned, "class", samples=x, references=references, labels=labels
    )
    keys = {entry["comparable_key"] for entry in measure(measured)}
    for row in (floor_given_labels, copycat_given_labels):
        card = row(suite, task)
        assert {entry["comparable_key"] for entry in card["metrics"]} == keys
        by_id = {(entry["id"], entry["params"].get("reference")): entry for entry in card["metrics"]}
        assert by_id["class_accuracy_digitscnn", None]["value"] > 0.95
        assert by_id["fd_pixels", "train"]["value"] < 0.05 < by_id["fd_pixels", "test"]["value"]
        assert by_id["nn_ratio_pixels", "train"]["params"]["flag"]


def test_a_benchmark_of_a_conditional_model_has_these_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = {"name": "given", "tag": "digits", "family": "f", "conditioning": "class"}
    suite = suites.load("quick")
    entry = cards.metric("x", 1, 1.0, unit="", relation=None, interval=None, identity={})
    card = {"status": "ok", "task": {"id": "quick@1/digits"}, "model": model, "metrics": [entry], "partial": False}
    monkeypatch.setattr("zoo_bench.benchmark._Job.run", lambda self, say: card)
    names = {card["model"]["name"] for card in bench("quick", models="uniform", out=tmp_path, quiet=True).cards}
    assert {"training_images", "training_images_given_labels", "copycat_given_labels"} <= names
    assert len(cards.read_all([tmp_path])) == 3
    assert suite.baselines[-1] == "copycat"


def test_the_best_exact_likelihood_is_of_one_quantity_under_no_condition() -> None:
    """Neither a small KL divergence nor log P(x | label) makes a model the best."""

    def card(name: str, **fields: float) -> dict:
        units = {"kl": "nats", "bits_per_dim": "bits/dim", "nats": "nats/image"}
        metrics = [
            cards.metric(key, 1, value, unit=units[key], relation="=", interval=None, identity={})
            for key, value in fields.items()
        ]
        model = {"name": name, "tag": "x", "family": "f"}
        return {"status": "ok", "task": {"id": "t"}, "model": model, "metrics": metrics}

    given = card("given", bits_per_dim=0.1)
    given["model"]["conditioning"] = "class"
    best = best_exact([card("a", kl=0.1, bits_per_dim=2.0), card("b", kl=0.2, bits_per_dim=1.0), given], "t")
    assert best is not None
    assert best["model"]["name"] == "b"
    assert best_exact([card("gan", kl=0.1)], "t") is None


def test_again_makes_the_diluted_row_anew(benched: Path, tmp_path: Path) -> None:
    shutil.copytree(benched, tmp_path / "out")
    path = tmp_path / "out" / "cards" / "diluted.digits.quick-v1-digits.seed0.json"
    card = cards.read(path)
    card["metrics"][0]["value"] = 0.0
    path.write_text(json.dumps(card))
    bench("quick", models="uniform", out=tmp_path / "out", quiet=True, again=True)
    assert cards.read(path)["metrics"][0]["value"] > 2


def test_an_infinite_likelihood_is_a_failed_value_not_a_crash(tmp_path: Path) -> None:
    nats = torch.tensor([-1.0, -math.inf, -2.0], dtype=torch.float64)
    task, scored = suites.load("quick").tasks[0], datasets.load("digits", "test")
    entries = measure(
        Measured(task, "t", scored, scored.pinned[:3], results=[LikelihoodResult("log_prob", "=", nats, 64)])
    )
    assert [entry["value"] for entry in entries] == [None, None]
    assert "1 of 3 images have no probability" in entries[0]["params"]["reason"]
    model = {"name": "m", "tag": "digits", "family": "f"}
    card = {"schema_version": 1, "status": "ok", "error": None, "task": {"id": "t"}, "model": model, "metrics": entries}
    cards.write(card, tmp_path / "cards")
    assert "failed: 1 of 3 images" in report([tmp_path / "cards"])
    assert "failed: 1 of 3 images" in report([tmp_path / "cards"], form="terminal")
    assert "nan" not in report([tmp_path / "cards"], form="csv")


def test_weaker_likelihoods_are_kept_but_not_tabled(benched: Path) -> None:
    card = cards.read(benched / "cards" / "gmm.digits.quick-v1-digits.seed0.json")
    (weaker,) = (entry for entry in card["weaker_likelihoods"] if entry["id"] == "nats")
    assert weaker["params"]["method"] == "iw-dequant-16"
    assert weaker["value"] < next(entry["value"] for entry in card["metrics"] if entry["id"] == "nats")


def test_a_failed_training_leaves_a_failed_card_and_the_rest_goes_on(tmp_path: Path) -> None:
    result = bench("quick", models="vae", out=tmp_path, quiet=True, settings={"lr": 1e18, "ema": 0})
    (failed,) = result.failed
    assert failed["model"]["name"] == "vae"
    assert "lower learning rate" in failed["error"]
    assert len(result.cards) == 8
    assert "vae.digits: failed" in report([tmp_path / "cards"])


def test_reports_in_three_forms(benched: Path) -> None:
    markdown = report([benched / "cards"], form="markdown")
    assert "= 2.4320 ± 0.0240" in markdown
    assert "≤ 2.9" in markdown
    rows = list(csv.DictReader(io.StringIO(report([benched / "cards"], form="csv"))))
    uniform = next(row for row in rows if row["model"] == "uniform" and row["metric"] == "bits_per_dim")
    assert float(uniform["value"]) == pytest.approx(4.087463, abs=1e-6)
    assert uniform["relation"] == "="
    terminal = report([benched / "cards"], form="terminal")
    assert "not measured" in terminal
    with pytest.raises(ZooError, match="no result cards"):
        report([benched / "runs"])
    with pytest.raises(ZooError, match="does not exist"):
        report([benched / "nowhere"])


def test_cards_that_are_none(benched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cards"
    folder.mkdir()
    source = next((benched / "cards").glob("uniform*.json"))
    card = json.loads(source.read_text())
    (folder / "a.seed0.json").write_text(json.dumps({**card, "schema_version": 99}))
    with pytest.raises(ZooError, match=r"schema 99; .*upgrade"):
        cards.read_all([folder])
    (folder / "a.seed0.json").write_text("{")
    with pytest.raises(ZooError, match="not a result card"):
        cards.read_all([folder])
    (folder / "a.seed0.json").write_text(json.dumps({"schema_version": 1}))
    with pytest.raises(ZooError, match=r"must contain .*'metrics', 'model', 'status', 'task'"):
        cards.read_all([folder])
    for name in ("a", "b"):
        (folder / f"{name}.seed0.json").write_text(source.read_text())
    assert len(cards.read_all([folder])) == 1  # a copy counts once
    (folder / "b.seed0.json").write_text(json.dumps({**card, "command": "another", "timing": {"seconds": 9.0}}))
    assert len(cards.read_all([folder])) == 1  # so does the same result by another command
    other = copy.deepcopy(card)
    other["metrics"][0]["value"] += 0.1
    (folder / "b.seed0.json").write_text(json.dumps(other))
    with pytest.raises(ZooError, match="two cards of one result"):
        cards.read_all([folder])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda card: card.update(task=None), "card.task must be object"),
        (lambda card: card.update(metrics=None), "card.metrics must be array"),
        (lambda card: card["model"].update(weights="x"), "card.model.weights must be object or null"),
        (lambda card: card["model"].pop("family"), "family"),
        (lambda card: card["sampling"].update(seed="0"), "card.sampling.seed must be integer"),
        (lambda card: card.update(status="failed", error=None), "card.error must be string"),
        (lambda card: card["metrics"][0].pop("interval"), "interval"),
        (lambda card: card["metrics"][0].pop("comparable_key"), "comparable_key"),
        (lambda card: card["metrics"][0].update(value="2"), r"card.metrics\[0\].value must be number or null"),
        (lambda card: card["metrics"][0].update(value=math.nan), "NaN is no number"),
        (lambda card: card["metrics"][0].update(value=-math.inf), "-Infinity is no number"),
        (lambda card: card["metrics"][0].update(relation="<"), "relation must be one of"),
        (lambda card: card["metrics"].append(card["metrics"][0]), "twice under one comparable_key"),
        (lambda card: card["metrics"][0]["interval"].update(low=9.0, high=1.0), "low end lies above"),
        (lambda card: card["metrics"][0].update(value=10**400), "is no number of a card"),
        (lambda card: card["metrics"][0]["params"].update(warning=["a"]), "params.warning must be string or null"),
        (lambda card: card["metrics"][0]["params"].update(method=[1]), "params.method must be string"),
        (lambda card: card["metrics"][0]["params"].update(ids=5), "params.ids must be array"),
        (lambda card: card["environment"].update(threads="2"), "environment.threads must be integer"),
        (lambda card: card["environment"].update(packages=[]), "environment.packages must be object"),
        (lambda card: card["data"].pop("name"), "card.data must contain"),
        (lambda card: card.update(training="long"), "card.training must be object"),
        (lambda card: card.update(schema_version=True), "schema_version must be integer"),
        (lambda card: card.update(schema_version=0), "schema_version must be bigger than or equal to 1"),
    ],
)
def test_a_malformed_card_is_told_where(change, told: str, benched: Path, tmp_path: Path) -> None:
    card = cards.read(benched / "cards" / "gmm.digits.quick-v1-digits.seed0.json")
    change(card)
    path = tmp_path / "cards" / "gmm.digits.quick-v1-digits.seed0.json"
    path.parent.mkdir()
    path.write_text(json.dumps(card))
    with pytest.raises(ZooError, match=f"gmm.*not a result card .*{told}.*mend it"):
        report([tmp_path])


def test_two_benchmarks_of_one_suite_stand_in_one_report(tmp_path: Path) -> None:
    """`zoo report` of all runs: the baselines of both are the same results, computed twice."""
    for name in ("one", "two"):
        bench("quick", models="uniform", out=tmp_path / name, quiet=True)
    (table,) = tables(cards.read_all([tmp_path]))
    names = [row.name for _, rows in table.groups for row in rows]
    assert len(names) == len(set(names)) == 7


def test_a_partial_card_leaves_the_complete_one_alone(recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate("gmm.digits", out=out)
    evaluate("gmm.digits", out=out, limit=20)
    text = report([out])
    assert "| gmm |" in text
    assert "gmm.digits: not in the table, because it is partial" in text
    runs = [train(recipe(images=n), out=tmp_path / f"run{n}", quiet=True) for n in (200, 300)]
    evaluate(runs[0].weights, out=out)
    with pytest.raises(ZooError, match="is the card of other weights"):
        evaluate(runs[1].weights, out=out)
    evaluate(runs[1].weights, out=tmp_path / "other")
    (table,) = tables(cards.read_all([out, tmp_path / "other"]))
    names = [row.name for _, rows in table.groups for row in rows]
    assert len(names) == len(set(names)) == 5  # with the floor and the copycat
    assert sum(name.startswith("vae (") for name in names) == 2


def test_blocks_are_filled_from_cards(benched: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin results: gmm -->\nold\n<!-- end results -->\nafter\n")
    found = cards.read_all([benched / "cards"])
    assert not fill_blocks(page, found, check=True)
    assert "old" in page.read_text()
    assert not fill_blocks(page, found)
    assert fill_blocks(page, found)
    text = page.read_text()
    assert "| gmm |" in text
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
    assert card["partial"]
    assert card["metrics"][0]["interval"]["n"] == 20
    assert evaluate(str(run.weights), split="validation", limit=20)["data"]["split"] == "validation"
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
    assert first["sampling"]["sha256"] == second["sampling"]["sha256"]
    assert [entry["value"] for entry in first["metrics"]] == [entry["value"] for entry in second["metrics"]]


def test_no_order_is_suggested_between_bounds() -> None:
    def card(name: str, relation: str, value: float) -> dict:
        entry = cards.metric("bits_per_dim", 1, value, unit="bits/dim", relation=relation, interval=None, identity={})
        model = {"name": name, "tag": "x", "family": "f"}
        return {"status": "ok", "task": {"id": "t"}, "model": model, "metrics": [entry]}

    (table,) = tables([card("b", "≤", 1.0), card("a", "≤", 9.0), card("z", "=", 1.0), card("y", "=", 2.0)])
    assert [[row.name for row in rows] for _, rows in table.groups] == [["z", "y"], ["a", "b"]]
    assert reporting.GROUPS["≤"].endswith("not ordered")


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
    card = evaluate_model(Conditional(), "uniform", suite, task, known={"tag": "digits"}, limit=50)
    labels = datasets.load("digits", "test").pinned.labels[:50]
    entries = {entry["id"]: entry for entry in card["metrics"]}
    assert entries["nats"]["value"] == pytest.approx(float((labels + 1).double().mean()))
    assert card["model"]["conditioning"] == "class"
    plain = evaluate_model(
        zoo_core.create("uniform", datasets.load("digits").images), "uniform", suite, task, known={}, limit=50
    )
    keys = {entry["comparable_key"] for entry in card["metrics"]}
    assert not keys & {entry["comparable_key"] for entry in plain["metrics"]}


def test_another_protocol_s_exact_value_is_not_ranked_among_these(benched: Path) -> None:
    """log P(x | label), lower than all others, does not stand above them under "best first"."""
    found = cards.read_all([benched / "cards"])
    other = copy.deepcopy(next(card for card in found if card["model"]["name"] == "uniform"))
    other["model"] |= {"name": "given", "conditioning": "class"}
    for i, entry in enumerate(other["metrics"]):
        entry["comparable_key"] = f"{i:x}" * 64
        entry["value"] = 0.5
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
        evaluate_model(model, "uniform", suite, task, known={}, limit=50)


def test_several_seeds_are_several_cards_and_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = suites.load("quick")
    task = dataclasses.replace(suite.tasks[0], seeds=(0, 1, 2), samples=200)
    assert task.sha256() != dataclasses.replace(task, seeds=()).sha256()
    three = dataclasses.replace(suite, tasks=(task,), baselines=("uniform",))
    monkeypatch.setattr(suites, "load", lambda name: three)
    result = bench("quick", models="gmm", out=tmp_path, quiet=True)
    own = {cards.seed(card): card for card in result.cards if card["model"]["name"] == "gmm"}
    assert list(own) == [0, 1, 2]
    assert len({card["sampling"]["sha256"] for card in own.values()}) == 3
    assert len({card["model"]["weights"]["sha256"] for card in own.values()}) == 1  # trained once
    assert [entry["id"] for entry in own[0]["metrics"]] == ["bits_per_dim", "nats", "fd_pixels", "fd_pixels"]
    assert [entry["id"] for entry in own[2]["metrics"]] == ["fd_pixels", "fd_pixels"]
    (table,) = tables(result.cards)
    (row,) = (row for _, rows in table.groups for row in rows if row.name == "gmm")
    key = own[0]["metrics"][2]["comparable_key"]
    values = [next(e["value"] for e in card["metrics"] if e["comparable_key"] == key) for card in own.values()]
    assert row.values[key]["value"] == pytest.approx(np.mean(values))
    interval = row.values[key]["interval"]
    assert (interval["high"] - interval["low"]) / 2 == pytest.approx(np.std(values, ddof=1))
    assert "(3 seeds)" in report([tmp_path / "cards"])
    said: list[str] = []
    (tmp_path / "cards" / f"{cards.stem(own[1])}.json").unlink()
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
    whole, part = suites.load("small"), suites.load("small@1/digits")
    assert part.tasks == (whole.tasks[0],)
    assert part.task_id(part.tasks[0]) == "small@1/digits"
    with pytest.raises(ZooError, match=r"small@1/fashion"):
        suites.load("small/fashoin")


def test_a_narrow_terminal_gets_the_columns_in_pieces() -> None:
    """Nothing is wrapped or lost, and each piece names the model."""
    folder = Path(__file__).parents[1] / "results"
    wide, narrow = (report([folder], form="terminal", width=width) for width in (1000, 70))
    assert max(map(len, narrow.splitlines())) < 130 < max(map(len, wide.splitlines()))
    assert narrow.count("  gated_pixelcnn ") > wide.count("  gated_pixelcnn ")
    for number in ("= 84.32", "1.7603"):
        assert number in wide and number in narrow
