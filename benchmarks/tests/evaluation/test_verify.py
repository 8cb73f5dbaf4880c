"""`zoo verify`: an honest card agrees in everything, and whatever was edited is found."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from zoo_bench import bench, compare, evaluate, metric
from zoo_bench.cards import files
from zoo_bench.cards.types import Interval
from zoo_bench.commands.verify import verify as command
from zoo_bench.evaluation.checks import _metric
from zoo_bench.evaluation.jobs import Job
from zoo_bench.evaluation.verify import verify
from zoo_bench.features.weightfiles import MissingWeights
from zoo_bench.reports.tables import tables
from zoo_bench.tasks.suites import load
from zoo_bench.training.trainer import train

from zoo_core import pretrained
from zoo_core.errors import ZooError


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    card = evaluate("made.digits", out=folder)
    return folder / f"{card.stem}.json"


def edit(path: Path, change: Callable[[Any], Any]) -> Path:
    """The card in `path` after a change of its JSON."""
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))
    return path


@pytest.fixture
def edited(honest: Path, tmp_path: Path) -> Callable[[Callable[[Any], Any]], Path]:
    """The honest card after an edit, with its file of nats beside it."""

    def changed(change: Callable[[Any], Any]) -> Path:
        for file in (honest, *honest.parent.glob("*.npy")):
            shutil.copy(file, tmp_path)
        return edit(tmp_path / honest.name, change)

    return changed


def test_an_honest_card_agrees(honest: Path) -> None:
    checks = verify(honest)
    assert {check.status for check in checks} == {"agrees"}
    card = files.read(honest)
    assert [check.what for check in checks[:2]] == ["samples sha256", "nats file"]
    assert len(checks) == 2 + len(card.metrics) + len(card.weaker_likelihoods)


def test_what_was_edited_differs(edited: Any) -> None:
    """Each edit is found, and nothing else differs: a likelihood, a distance, the samples, the nats, a protocol."""

    def change(card: Any) -> None:
        by_name = {entry["id"]: entry for entry in reversed(card["metrics"])}
        by_name["nats"]["value"] -= 0.001
        by_name["bits_per_dim"]["relation"] = "≤"
        by_name["fd_pixels"]["comparable_key"] = "0" * 64
        card["metrics"].append({**by_name["fd_pixels"], "id": "fd_nothing", "comparable_key": "1" * 64})
        card["sampling"]["sha256"] = "0" * 64
        card["nats_file"]["sha256"] = "0" * 64

    path = edited(change)
    checks = verify(path)
    first = next(entry for entry in files.read(path).metrics if entry.id == "fd_pixels").params.reference
    differ = [check.what for check in checks if not check.agrees]
    assert differ == [
        "samples sha256",
        "nats file",
        "bits_per_dim",
        "nats",
        f"fd_pixels ({first})",
        f"fd_nothing ({first})",
    ]
    result = CliRunner().invoke(command, [str(path), "--quiet"])
    assert result.exit_code == 1
    assert "differs in 6 of" in result.output


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("model.name", lambda card: card["model"].update(name="gmm", tag="digits")),
        ("model.config", lambda card: card["model"]["config"].update(hidden=[7])),
        ("model.params", lambda card: card["model"].update(params=3)),
        ("data.n", lambda card: card["data"].update(n=30)),
        ("data.sha256", lambda card: card["data"].update(sha256="0" * 64)),
        ("data.splits", lambda card: card["data"].update(splits={})),
        ("samples", lambda card: card.update(sampling=None)),
        ("nats", lambda card: card["metrics"].pop(next(i for i, e in enumerate(card["metrics"]) if e["id"] == "nats"))),
        ("bits_per_dim", lambda card: card["metrics"][0]["interval"].update(low=0.0)),
        ("bits_per_dim", lambda card: card["metrics"][0].update(unit="nats")),
        ("bits_per_dim", lambda card: card["metrics"][0].update(status="skipped", value=1.0)),
        ("bits_per_dim", lambda card: card["metrics"][0].update(status="skipped", value=None)),
        ("bits_per_dim", lambda card: card["metrics"][0].update(value=None)),
        ("bits_per_dim", lambda card: card["metrics"][0].update(higher_is_better=True)),
        ("nats", lambda card: card["metrics"][1]["interval"].update(high=card["metrics"][1]["value"])),
        ("fd_pixels (train)", lambda card: _distance(card)["params"].pop("n")),
        ("fd_pixels (train)", lambda card: _distance(card)["params"].update(flag=False)),
        ("fd_pixels (train)", lambda card: _distance(card)["interval"].update(low=_distance(card)["value"] - 1e-4)),
        ("published", lambda card: card.update(published=[PUBLISHED])),
        ("environment.packages", lambda card: card["environment"].pop("packages")),
        ("model.images_seen", lambda card: card["model"].update(images_seen=3)),
        ("model.tag", lambda card: card["model"].update(tag="mnist")),
        ("model.plugin", lambda card: card["model"].update(plugin="zoo-other")),
        ("model.weights.kind", lambda card: card["model"]["weights"].update(kind="ema")),
        ("model.recipe", lambda card: card["model"].update(recipe={"images": 3})),
        ("sampling.n", lambda card: card["sampling"].update(n=50_000)),
        ("sampling.chunk", lambda card: card["sampling"].update(chunk=1)),
        ("nats file", lambda card: card.pop("nats_file")),
        ("environment.precision", lambda card: card["environment"].update(precision="bf16")),
        ("environment.device", lambda card: card["environment"].update(device="cuda")),
        ("performance.flops_per_generated_image", lambda card: card.pop("performance")),
        ("samples", lambda card: card["sampling"].pop("device")),
        ("performance.flops_per_generated_image", lambda card: card["performance"].update(flops_per_generated_image=1)),
    ],
)
def test_a_forged_fact_differs(edited: Any, what: str, change: Callable[[Any], Any]) -> None:
    assert what in [check.what for check in verify(edited(change)) if not check.agrees]


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("card.note", lambda card: card.update(note="the best of all")),
        ("card.metrics[0].extra", lambda card: card["metrics"][0].update(extra="best of all")),
        ("card.model.weights.licence", lambda card: card["model"]["weights"].update(licence="any")),
        ("card.environment.of", lambda card: card["environment"].update(of="a better machine")),
    ],
)
def test_what_no_card_can_say_is_refused(edited: Any, what: str, change: Callable[[Any], Any]) -> None:
    with pytest.raises(ZooError, match=rf"not a result card \({re.escape(what)} is a field that no card"):
        verify(edited(change))


def _distance(card: Any) -> Any:
    entries = [entry for entry in card["metrics"] if entry["id"] == "fd_pixels"]
    return next(entry for entry in entries if entry["params"]["reference"] == "train")


PUBLISHED = {"value": 9.0, "unit": "bits/dim", "protocol": "any", "source": "nowhere"}


def test_nats_of_other_images_differ_though_the_card_names_their_file(edited: Any) -> None:
    path = edited(lambda card: None)
    card = files.read(path)
    assert card.nats_file is not None
    file = path.parent / card.nats_file.name
    nats = np.load(file)
    np.save(file, nats[::-1])  # of the same mean
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    files.write(card.but(nats_file=card.nats_file.but(sha256=sha256)), path.parent)
    assert [(check.what, check.note) for check in verify(path) if not check.agrees] == [
        ("nats file", "other nats come out now")
    ]


def test_what_passes_with_time_and_place_agrees(edited: Any) -> None:
    def change(card: Any) -> None:
        card["performance"] |= {"peak_memory_mb": 1, "sampling_images_per_second": 1.0}
        card["command"], card["timing"] = "zoo bench", {"seconds": 1.0}
        card["environment"] |= {"threads": 99, "git": None, "packages": {"torch": "9"}}
        card["model"] |= {"plugin_version": "0.0.1", "training_seconds": 1.0}

    assert all(check.agrees for check in verify(edited(change)))


def test_a_skipped_metric_that_cannot_be_computed_here_either_is_named(edited: Any, monkeypatch: Any) -> None:
    def missing(*arguments: Any) -> Any:
        raise MissingWeights("pixels", "some.pth", "abc", "nowhere")

    monkeypatch.setattr("zoo_bench.metrics.quality.fd", missing)
    checks = verify(edited(lambda card: None))
    assert {check.what: check.status for check in checks if check.status != "agrees"} == {
        "fd_pixels (train)": "skipped",
        "fd_pixels (test)": "skipped",
    }
    assert all("some.pth" in check.note for check in checks if check.status == "skipped")


def test_what_could_not_be_checked_is_no_agreement(edited: Any) -> None:
    """Samples that are said to come of another device, and a metric whose weights are nowhere: exit status 2."""

    def other_device(card: Any) -> None:
        card["sampling"] |= {"device": "cuda:0", "sha256": "0" * 64}
        card["environment"]["device"] = "cuda:0"
        _distance(card)["value"] = 0.0001
        _distance(card)["interval"] |= {"low": 0.00009, "high": 0.00011}

    def asked(card: Any) -> None:
        card["asked"] = ["fid"]
        card["metrics"].append({**_distance(card), "id": "fid", "comparable_key": "1" * 64, "value": 1.2})

    for change, told in ((other_device, "2 of"), (asked, "1 of")):
        result = CliRunner().invoke(command, [str(edited(change)), "--quiet"])
        assert result.exit_code == 2, result.output
        assert "as far as it could be checked here" in result.output
        assert told in result.output


@pytest.mark.parametrize(
    ("value", "low", "high", "agrees"), [(80.5, 79.5, 81.5, True), (1.0, 79.0, 81.0, False), (80.0, 0.0, 99.0, False)]
)
def test_an_estimate_agrees_by_both_intervals(value: float, low: float, high: float, agrees: bool) -> None:
    interval = Interval(low=79.0, high=81.0, method="normal")
    now = metric("nats", 1, 80.0, unit="nats/image", relation="≈", identity={}, interval=interval)
    said = now.but(value=value, interval=interval.but(low=low, high=high))
    assert _metric(said, now).agrees is agrees


def test_a_card_that_asks_for_more_training_than_its_recipe_is_refused(tmp_path: Path) -> None:
    bench("quick", models="uniform", out=tmp_path, quiet=True)
    path = tmp_path / "cards" / "uniform.digits.quick-v1-digits.seed0.json"
    edit(path, lambda card: card["model"]["recipe"].update(images=10**9))
    with pytest.raises(ZooError, match=r"trains on 1,000,000,000 images.*--train"):
        verify(path)


def test_unpublished_weights_are_trained_again_if_one_asks_for_it(tmp_path: Path) -> None:
    bench("quick", models="gmm", out=tmp_path, quiet=True)
    path = tmp_path / "cards" / "gmm.digits.quick-v1-digits.seed0.json"
    edit(path, lambda card: card["model"]["weights"].update(sha256="0" * 64))  # as if these were not published
    with pytest.raises(ZooError, match="train them again, on 40,000 images, with --train"):
        verify(path)
    assert [check.what for check in verify(path, train=True) if not check.agrees] == ["weights sha256"]


def test_a_diluted_baseline_is_made_anew(tmp_path: Path) -> None:
    bench("quick", models="uniform", out=tmp_path, quiet=True)
    path = tmp_path / "cards" / "diluted.digits.quick-v1-digits.seed0.json"
    assert files.read(path).model.made_of == "1 % class_mixture, 99 % uniform noise"
    assert all(check.agrees for check in verify(path))


def test_cards_of_ones_own_pictures_are_verified_reported_and_compared(tmp_path: Path, monkeypatch: Any) -> None:
    """However the folder was named; two folders of one name are two sets in one table."""
    paths = []
    for i, place in enumerate(("a", "b")):
        (tmp_path / place / "photos").mkdir(parents=True)
        random = np.random.default_rng(i)
        for j in range(60):
            pixels = random.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / place / "photos" / f"{j}.png")
    monkeypatch.chdir(tmp_path)
    run = train("independent_pixels", data="folder:a/photos?grey=1", out=tmp_path / "run", quiet=True)
    for out, data in (
        ("one", "folder:a/photos?grey=1"),
        ("two", f"folder:{tmp_path}/a/photos?grey=1"),
        ("three", "folder:b/photos?grey=1"),
    ):
        card = evaluate(str(run.weights), data=data, out=tmp_path / out)
        paths.append(tmp_path / out / f"{card.stem}.json")
    assert compare(paths[0], paths[1]).difference == 0
    with pytest.raises(ZooError, match="split hash"):
        compare(paths[0], paths[2])
    (table,) = tables(files.read_all(tmp_path / name for name in ("one", "three")))
    assert len(table.columns) == 4
    with pytest.raises(ZooError, match="--data folder:PATH"):
        verify(paths[0], weights_folder=run.weights)
    assert all(check.agrees for check in verify(paths[0], weights_folder=run.weights, data="folder:a/photos?grey=1"))
    with pytest.raises(ZooError, match="other data"):
        verify(paths[0], weights_folder=run.weights, data="folder:b/photos?grey=1")


def test_a_rounding_error_agrees(edited: Any) -> None:
    def change(card: Any) -> None:
        card["metrics"][0]["value"] *= 1 + 1e-8
        _distance(card)["interval"]["high"] *= 1 + 1e-7

    result = CliRunner().invoke(command, [str(edited(change)), "--json", "--quiet"])
    assert result.exit_code == 0, result.output
    assert {check["status"] for check in json.loads(result.output)} == {"agrees"}


def test_samples_of_another_device_speak_neither_way(edited: Any) -> None:
    def change(card: Any) -> None:
        card["sampling"] |= {"device": "cuda:0", "sha256": "0" * 64}
        for entry in card["metrics"]:
            entry["value"] += 1 if entry["id"] == "fd_pixels" else 0

    found = {check.what: check.status for check in verify(edited(change))}
    assert found["nats"] == found["bits_per_dim"] == "agrees"
    assert found["samples sha256"] == found["fd_pixels (test)"] == found["fd_pixels (train)"] == "skipped"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card["task"].update(sha256="0" * 64), "edited without a new version"),
        (lambda card: card["task"].update(id="quick@1/nothing"), "has no task 'nothing' of quick@1"),
        (lambda card: card["task"].update(id="quick@9/digits"), "this zoo has quick@1"),
        (lambda card: card["data"]["splits"].update(test="0" * 64), "other data"),
        (lambda card: card["model"]["weights"].update(sha256="0" * 64), "have the sha256"),
        (lambda card: card["model"]["weights"].update(source="recipe", sha256="0" * 64), "give the run's folder with"),
        (lambda card: card["model"].update(weights=None), "no weights"),
        (lambda card: card["model"].update(family="samples"), "score the samples again"),
        (lambda card: card["model"].update(name="diluted", family="constructed", made_of="1 % a"), "unknown model"),
        (lambda card: card.update(status="failed", error="no"), "nothing to verify"),
        (lambda card: card.pop("environment"), "does not say its environment"),
        (lambda card: card.update(partial=True), "partial"),
        (lambda card: card.update(schema_version=99), "upgrade"),
    ],
)
def test_what_cannot_be_verified_is_said(change: Any, message: str, edited: Any) -> None:
    with pytest.raises(ZooError, match=message):
        verify(edited(change))


def test_a_baseline_is_fitted_again(tmp_path: Path) -> None:
    suite = load("quick")
    job = Job(suite, suite.tasks[0], "independent_pixels", tmp_path, quiet=True)
    card = job.run(lambda line: None)
    path = tmp_path / "cards" / f"{card.stem}.json"
    checks = verify(path)
    assert checks[0].what == "weights sha256"
    assert {check.status for check in checks} == {"agrees"}
    edit(path, lambda card: card["model"]["config"].update(alpha=2.0))
    assert "weights sha256" in {check.what for check in verify(path) if not check.agrees}


def test_constructed_rows_are_made_anew(tmp_path: Path) -> None:
    """The floor, the copycat, and 1 % of a published model: what a table is measured against can be checked too."""
    bench("quick", models="made", pretrained=True, out=tmp_path, quiet=True)
    for name in ("training_images", "copycat", "diluted"):
        path = tmp_path / "cards" / f"{name}.digits.quick-v1-digits.seed0.json"
        assert all(check.agrees for check in verify(path)), name
        edit(path, lambda card: _distance(card).update(value=_distance(card)["value"] - 0.01))
        assert [check.what for check in verify(path) if not check.agrees] == ["fd_pixels (train)"]
    edit(path, lambda card: card["model"].update(made_of="1 % gmm, 99 % uniform noise"))
    assert "model.made_of" in [check.what for check in verify(path) if not check.agrees]


def test_a_card_on_another_data_set_than_the_weights_is_verified_on_that(tmp_path: Path) -> None:
    card = evaluate("made.digits", data="digits_rotated", out=tmp_path)
    assert all(check.agrees for check in verify(tmp_path / f"{card.stem}.json"))


def test_weights_of_ones_own_are_given(recipe: Any, tmp_path: Path) -> None:
    run = train(recipe("independent_pixels", config=""), out=tmp_path / "run", quiet=True)
    card = evaluate(str(run.weights), out=tmp_path / "card")
    path = tmp_path / "card" / f"{card.stem}.json"
    assert all(check.agrees for check in verify(path, weights_folder=run.weights))
    moved = tmp_path / "moved"
    shutil.move(run.weights, moved)
    with pytest.raises(ZooError, match="no such folder"):
        verify(path)
    assert all(check.agrees for check in verify(path, weights_folder=moved))
    with pytest.raises(ZooError, match="the card is of"):
        verify(path, weights_folder=pretrained.find("made.digits")[0])
