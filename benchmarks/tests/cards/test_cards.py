"""A card carries its protocol, and a file that is no card is told where."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from zoo_bench import report
from zoo_bench.cards import card as cards
from zoo_bench.datasets import load as datasets
from zoo_bench.metrics.measure import measure
from zoo_bench.metrics.measured import Measured
from zoo_bench.tasks import suites

from zoo_core import ZooError
from zoo_core.likelihood import LikelihoodResult


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
