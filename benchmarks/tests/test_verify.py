"""`zoo verify`: an honest card agrees in everything, and whatever was edited is found."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from zoo_bench import cards, evaluate
from zoo_bench.benchmark import _Job
from zoo_bench.suites import load
from zoo_bench.trainer import train
from zoo_bench.verify import verify
from zoo_bench.verify_command import verify as command

from zoo_core import registry
from zoo_core.errors import ZooError


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    card = evaluate("made.digits", out=folder)
    return folder / f"{cards.stem(card)}.json"


@pytest.fixture
def edited(honest: Path, tmp_path: Path) -> Callable[[Callable[[Any], Any]], Path]:
    """The honest card after an edit, with its file of nats beside it."""

    def edit(change: Callable[[Any], Any]) -> Path:
        card = copy.deepcopy(cards.read(honest))
        change(card)
        for file in honest.parent.glob("*.npy"):
            shutil.copy(file, tmp_path)
        return cards.write(card, tmp_path)

    return edit


def test_an_honest_card_agrees(honest: Path) -> None:
    checks = verify(honest)
    assert {check.status for check in checks} == {"agrees"}
    card = cards.read(honest)
    assert [check.what for check in checks[:2]] == ["samples sha256", "nats file"]
    assert len(checks) == 2 + len(card["metrics"]) + len(card["weaker_likelihoods"])


def test_what_was_edited_differs(edited: Any) -> None:
    """Each edit is found, and nothing else differs: a likelihood, a distance, the samples, the nats, a protocol."""

    def change(card: Any) -> None:
        by_name = {entry["id"]: entry for entry in reversed(card["metrics"])}
        by_name["nats"]["value"] -= 0.001
        by_name["bits_per_dim"]["relation"] = "≤"
        by_name["fd_pixels"]["comparable_key"] = "0" * 64
        card["metrics"].append({**by_name["fd_pixels"], "id": "fd_nothing"})
        card["sampling"]["sha256"] = "0" * 64
        card["nats_file"]["sha256"] = "0" * 64

    path = edited(change)
    checks = verify(path)
    first = next(e for e in cards.read(path)["metrics"] if e["id"] == "fd_pixels")["params"]["reference"]
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
    ],
)
def test_a_forged_fact_differs(edited: Any, what: str, change: Callable[[Any], Any]) -> None:
    assert what in [check.what for check in verify(edited(change)) if not check.agrees]


def test_a_rounding_error_agrees_and_a_skipped_metric_is_named(edited: Any) -> None:
    def change(card: Any) -> None:
        card["metrics"][0]["value"] *= 1 + 1e-8
        card["metrics"][-1] |= {"status": "skipped", "value": None}
        card["metrics"][-1]["params"]["reason"] = "no weights"

    result = CliRunner().invoke(command, [str(edited(change)), "--json", "--quiet"])
    assert result.exit_code == 0, result.output
    checks = json.loads(result.output)
    assert [check["status"] for check in checks[:-1]] == ["agrees"] * (len(checks) - 1)
    assert (checks[-1]["status"], checks[-1]["note"]) == ("skipped", "no weights")


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
        (lambda card: card["task"].update(id="quick@1/nothing"), "has no task 'nothing'"),
        (lambda card: card["task"].update(id="quick@9/digits"), "this zoo has quick@1"),
        (lambda card: card["data"]["splits"].update(test="0" * 64), "other data"),
        (lambda card: card["model"]["weights"].update(sha256="0" * 64), "have the sha256"),
        (lambda card: card["model"]["weights"].update(source="recipe", sha256="0" * 64), "give the run's folder with"),
        (lambda card: card["model"].update(weights=None), "no weights"),
        (lambda card: card["model"].update(family="samples"), "score the samples again"),
        (lambda card: card["model"].update(family="floor"), "made anew by zoo bench"),
        (lambda card: card["model"].update(name="diluted", family="constructed", made_of="1 % a"), "it is 1 % a"),
        (lambda card: card.update(status="failed"), "nothing to verify"),
        (lambda card: card.update(partial=True), "partial"),
        (lambda card: card.update(schema_version=99), "upgrade"),
    ],
)
def test_what_cannot_be_verified_is_said(change: Any, message: str, edited: Any) -> None:
    with pytest.raises(ZooError, match=message):
        verify(edited(change))


def test_a_baseline_is_fitted_again(tmp_path: Path) -> None:
    suite = load("quick")
    job = _Job(suite, suite.tasks[0], "independent_pixels", tmp_path, None, False, False, True, {}, 0)
    card = job.run(lambda line: None)
    path = tmp_path / "cards" / f"{cards.stem(card)}.json"
    checks = verify(path)
    assert checks[0].what == "weights sha256"
    assert {check.status for check in checks} == {"agrees"}
    card["model"]["config"]["alpha"] = 2.0
    cards.write(card, tmp_path / "cards")
    assert "weights sha256" in {check.what for check in verify(path) if not check.agrees}


def test_weights_of_ones_own_are_given(recipe: Any, tmp_path: Path) -> None:
    run = train(recipe("independent_pixels", config=""), out=tmp_path / "run", quiet=True)
    card = evaluate(str(run.weights), out=tmp_path / "card")
    path = tmp_path / "card" / f"{cards.stem(card)}.json"
    assert all(check.agrees for check in verify(path, weights_folder=run.weights))
    moved = tmp_path / "moved"
    shutil.move(run.weights, moved)
    with pytest.raises(ZooError, match="no such folder"):
        verify(path)
    assert all(check.agrees for check in verify(path, weights_folder=moved))
    with pytest.raises(ZooError, match="the card is of"):
        verify(path, weights_folder=registry.find_weights("made.digits")[0])
