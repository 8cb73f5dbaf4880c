"""A card carries its protocol, and a file that is no card is told where."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from made_cards import card as made_card
from made_cards import distance, likelihood
from zoo_bench import Card, metric, report
from zoo_bench.cards import files
from zoo_bench.cards.types import SCHEMA, Interval, Metric, ModelEntry, Params, TaskEntry
from zoo_bench.commands.evaluate import evaluate as evaluate_command
from zoo_bench.datasets import load as datasets
from zoo_bench.evaluation import floors
from zoo_bench.metrics.measure import measure
from zoo_bench.metrics.measured import Measured
from zoo_bench.tasks import suites

from zoo_core import ZooError
from zoo_core.likelihood import LikelihoodResult

SHIPPED = sorted([*(Path(__file__).parents[2] / "results").rglob("cards/*.json"), *floors.folder().glob("*.json")])


def test_a_card_carries_its_protocol(benched: Path) -> None:
    card = files.read(benched / "cards" / "gmm.digits.quick-v1-digits.seed0.json")
    assert card.task.sha256 == suites.load("quick").tasks[0].sha256()
    assert card.model.plugin == "zoo-mixture"
    assert card.sampling.n == 1000
    by_id = {(entry.id, entry.params.reference): entry for entry in card.metrics}
    bits = by_id["bits_per_dim", None]
    assert bits.relation == "≤"
    assert bits.params.method == "dequant-16"
    assert bits.interval.low < bits.value < bits.interval.high
    nats = np.load(benched / "cards" / card.nats_file.name)
    assert nats.shape == (300,)
    assert nats.dtype == np.float64
    assert -nats.mean() / (64 * np.log(2)) == pytest.approx(bits.value, rel=1e-12)
    assert by_id["fd_pixels", "train"].comparable_key != by_id["fd_pixels", "test"].comparable_key
    assert "NaN" not in (benched / "cards" / "gmm.digits.quick-v1-digits.seed0.json").read_text()


def test_models_share_keys_so_they_share_columns(benched: Path) -> None:
    found = files.read_all([benched / "cards"])
    keys = {entry.comparable_key for card in found for entry in card.metrics if entry.id == "bits_per_dim"}
    assert len(keys) == 1
    floor = next(card for card in found if card.model.family == "floor")
    gmm = next(card for card in found if card.model.name == "gmm")
    assert floor.metrics[0].comparable_key in {entry.comparable_key for entry in gmm.metrics}


def test_an_infinite_likelihood_is_a_failed_value_not_a_crash(tmp_path: Path) -> None:
    nats = torch.tensor([-1.0, -math.inf, -2.0], dtype=torch.float64)
    task, scored = suites.load("quick").tasks[0], datasets.load("digits", "test")
    entries = measure(
        Measured(task, "t", scored, scored.pinned[:3], results=[LikelihoodResult("log_prob", "=", nats, 64)])
    )
    assert [entry.value for entry in entries] == [None, None]
    assert "1 of 3 images have no probability" in entries[0].params.reason
    model = ModelEntry(name="m", tag="digits", family="f")
    card = Card(
        schema_version=SCHEMA, status="ok", error=None, task=TaskEntry(id="t"), model=model, metrics=tuple(entries)
    )
    files.write(card, tmp_path / "cards")
    assert "failed: 1 of 3 images" in report([tmp_path / "cards"])
    assert "failed: 1 of 3 images" in report([tmp_path / "cards"], form="terminal")
    assert "nan" not in report([tmp_path / "cards"], form="csv")


def test_a_card_carries_what_a_model_says_of_its_estimate() -> None:
    """It belongs to no identity: estimates of more and of fewer chains share a column."""
    task, scored = suites.load("quick").tasks[0], datasets.load("digits", "test")
    told = {"estimator": "AIS", "chains": 100, "effective_sample_size": 87.25, "log_z": -12.5}

    def entries(**params: Any) -> list[Metric]:
        nats = torch.tensor([-1.0, -2.0, -3.0], dtype=torch.float64)
        result = LikelihoodResult("estimate", "≈", nats, 64, params)
        return measure(Measured(task, "t", scored, scored.pinned[:3], results=[result]))

    for entry, plain in zip(entries(**told), entries(), strict=True):
        assert {name: entry.params.get(name) for name in told} == told
        assert entry.relation == "≈" and entry.comparable_key == plain.comparable_key
    assert {entry.status for entry in entries(effective_sample_size=math.nan)} == {"failed"}


def test_weaker_likelihoods_are_kept_but_not_tabled(benched: Path) -> None:
    card = files.read(benched / "cards" / "gmm.digits.quick-v1-digits.seed0.json")
    (weaker,) = (entry for entry in card.weaker_likelihoods if entry.id == "nats")
    assert weaker.params.method == "iw-dequant-16"
    assert weaker.value < next(entry.value for entry in card.metrics if entry.id == "nats")


def test_cards_that_are_none(benched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cards"
    folder.mkdir()
    source = next((benched / "cards").glob("uniform*.json"))
    card = json.loads(source.read_text())
    (folder / "a.seed0.json").write_text(json.dumps({**card, "schema_version": 99}))
    with pytest.raises(ZooError, match=r"schema 99; .*upgrade"):
        files.read_all([folder])
    (folder / "a.seed0.json").write_text("{")
    with pytest.raises(ZooError, match="not a result card"):
        files.read_all([folder])
    held: dict[str, Any] = {"schema_version": 1}
    for part in ("status", "task", "model", "metrics"):  # each is told of until it is there
        (folder / "a.seed0.json").write_text(json.dumps(held))
        with pytest.raises(ZooError, match=rf"not a result card \(card.{part} is missing\)"):
            files.read_all([folder])
        held[part] = card[part]
    for name in ("a", "b"):
        (folder / f"{name}.seed0.json").write_text(source.read_text())
    assert len(files.read_all([folder])) == 1  # a copy counts once
    (folder / "b.seed0.json").write_text(json.dumps({**card, "command": "another", "timing": {"seconds": 9.0}}))
    assert len(files.read_all([folder])) == 1  # so does the same result by another command
    other = copy.deepcopy(card)
    other["metrics"][0]["value"] += 0.1
    (folder / "b.seed0.json").write_text(json.dumps(other))
    with pytest.raises(ZooError, match="two cards of one result"):
        files.read_all([folder])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda card: card.update(task=None), "card.task: expected an object, got null"),
        (lambda card: card.update(metrics=None), "card.metrics: expected an array, got null"),
        (lambda card: card["model"].update(weights="x"), 'card.model.weights: expected an object, got "x"'),
        (lambda card: card["model"].pop("family"), "card.model.family is missing"),
        (lambda card: card["sampling"].update(seed="0"), 'card.sampling.seed: expected an integer, got "0"'),
        (lambda card: card.update(status="failed", error=None), "card: status failed without an error that says why"),
        (lambda card: card["metrics"][0].pop("interval"), "card.metrics[0].interval is missing"),
        (lambda card: card["metrics"][0].pop("comparable_key"), "card.metrics[0].comparable_key is missing"),
        (lambda card: card["metrics"][0].update(value="2"), 'card.metrics[0].value: expected a number, got "2"'),
        (lambda card: card["metrics"][0].update(value=True), "card.metrics[0].value: expected a number, got true"),
        (lambda card: card["metrics"][0].update(value=math.nan), "NaN is no number of a card"),
        (lambda card: card["metrics"][0].update(value=-math.inf), "-Infinity is no number of a card"),
        (
            lambda card: card["metrics"][0].update(relation="<"),
            "card.metrics[0].relation: expected '=', '≤' or '≈', got \"<\"",
        ),
        (
            lambda card: card["metrics"].append(card["metrics"][0]),
            "card: metrics hold 'bits_per_dim' twice under one comparable_key",
        ),
        (
            lambda card: card["metrics"][0]["interval"].update(low=9.0, high=1.0),
            "card.metrics[0].interval: its low end lies above its high one (9.0 and 1.0)",
        ),
        (
            lambda card: card["weaker_likelihoods"][0]["interval"].update(low=9.0, high=1.0),
            "card.weaker_likelihoods[0].interval: its low end lies above",
        ),
        (lambda card: card["metrics"][0].update(value=10**400), "is no number of a card"),
        (
            lambda card: card["metrics"][0]["params"].update(warning=["a"]),
            'card.metrics[0].params.warning: expected a string, got ["a"]',
        ),
        (
            lambda card: card["metrics"][0]["params"].update(method=[1]),
            "card.metrics[0].params.method: expected a string, got [1]",
        ),
        (
            lambda card: card["metrics"][0]["params"].update(ids=5),
            "card.metrics[0].params.ids: expected an array, got 5",
        ),
        (
            lambda card: card["environment"].update(threads="2"),
            'card.environment.threads: expected an integer, got "2"',
        ),
        (lambda card: card["environment"].update(packages=[]), "card.environment.packages: expected an object, got []"),
        (lambda card: card["data"].pop("name"), "card.data.name is missing"),
        (lambda card: card["data"].update(shape=[1, 8]), "card.data.shape[2] is missing"),
        (lambda card: card["data"].update(levels=1), "card.data.levels: expected at least 2, got 1"),
        (
            lambda card: card["data"].update(sha256="abc"),
            'card.data.sha256: expected a sha256 (64 digits, 0-9 and a-f), got "abc"',
        ),
        (lambda card: card.update(training="long"), 'card.training: expected an object, got "long"'),
        (lambda card: card.update(training={"curve": 3}), "card.training.curve: expected an object or an array, got 3"),
        (lambda card: card.update(schema_version=True), "card.schema_version: expected an integer, got true"),
        (lambda card: card.update(schema_version=0), "card.schema_version: expected at least 1, got 0"),
        (lambda card: card["data"].pop("n"), "card: a nats_file, and data does not say of how many images (n)"),
        (lambda card: card.update(note="best"), "card.note is a field that no card of this schema has"),
        (
            lambda card: card["model"]["weights"].update(licence="any"),
            "card.model.weights.licence is a field that no card of this schema has",
        ),
        (
            lambda card: card["metrics"][1]["interval"].update(sd=0.1),
            "card.metrics[1].interval.sd is a field that no card of this schema has",
        ),
    ],
)
def test_a_malformed_card_is_told_where(change, told: str, benched: Path, tmp_path: Path) -> None:
    """The place, what is expected there, and what was given."""
    name = "gmm.digits.quick-v1-digits.seed0.json"
    card = json.loads((benched / "cards" / name).read_text())
    change(card)
    path = tmp_path / "cards" / name
    path.parent.mkdir()
    path.write_text(json.dumps(card))
    with pytest.raises(ZooError, match=f"gmm.*not a result card .*{re.escape(told)}.*repair or remove it"):
        report([tmp_path])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_card_that_ships_says_what_its_file_says(path: Path) -> None:
    """Nothing is lost, added or changed on the way through the types, and the schema made of them accepts it."""
    text = path.read_text(encoding="utf-8")
    assert files.read(path).to_dict() == json.loads(text)
    assert list(complaints(files.schema(), json.loads(text))) == []


def test_cards_are_found() -> None:
    assert len(SHIPPED) > 100


def test_the_schema_is_made_of_the_types_and_refuses_what_they_refuse() -> None:
    schema = files.schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["properties"].keys() == Card.model_fields.keys()
    assert schema["required"] == [name for name, field in Card.model_fields.items() if field.is_required()]
    closed = {name for name, part in schema["$defs"].items() if part.get("additionalProperties") is False}
    assert schema["$defs"].keys() - closed == {"Params", "JsonValue"}
    card = made_card("made", likelihood(2.0, "=")).to_dict()
    assert list(complaints(schema, card)) == []
    assert list(complaints(schema, {**card, "note": "best"})) == ["card.note"]
    card["metrics"][0] |= {"relation": "<", "value": "2"}
    card["model"].pop("family")
    card["data"]["levels"] = 1
    assert list(complaints(schema, card)) == [
        "card.data.levels",
        "card.metrics[0].relation",
        "card.metrics[0].value",
        "card.model.family",
    ]


def complaints(schema: dict[str, Any], value: Any, place: str = "card", whole: dict[str, Any] | None = None) -> Any:
    """Where a value is not what a JSON schema says, as far as a card's schema goes."""
    whole = whole or schema
    if "$ref" in schema:
        yield from complaints(whole["$defs"][schema["$ref"].rpartition("/")[2]], value, place, whole)
        return
    if "anyOf" in schema:
        found = [list(complaints(one, value, place, whole)) for one in schema["anyOf"]]
        yield from () if [] in found else max(found, key=lambda places: max(map(len, places)))
        return
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "null": type(None)}
    kind = (int, float) if schema.get("type") == "number" else kinds[schema["type"]] if "type" in schema else object
    numbers = isinstance(value, int | float)
    if (
        not isinstance(value, kind)
        or (isinstance(value, bool) and schema.get("type") in ("integer", "number"))
        or ("enum" in schema and value not in schema["enum"])
        or ("pattern" in schema and not re.search(schema["pattern"], value))
        or (numbers and not schema.get("minimum", value) <= value <= schema.get("maximum", value))
        or (isinstance(value, str | list) and len(value) < schema.get("minLength", schema.get("minItems", 0)))
        or (isinstance(value, list) and len(value) > schema.get("maxItems", len(value)))
    ):
        yield place
    elif isinstance(value, dict) and schema:
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        yield from (f"{place}.{name}" for name in sorted(set(schema.get("required", ())) - value.keys()))
        for name, item in sorted(value.items()):
            if name in known or isinstance(others, dict):
                yield from complaints(known.get(name, others), item, f"{place}.{name}", whole)
            elif not others:
                yield f"{place}.{name}"
    elif isinstance(value, list):
        each = schema.get("prefixItems") or [schema.get("items", {})] * len(value)
        for i, item in enumerate(value):
            yield from complaints(each[i], item, f"{place}[{i}]", whole)


def test_cards_are_frozen_and_changed_copies_are_checked() -> None:
    card = made_card("made", likelihood(2.0, "=", size=3))
    for part, field in ((card, "partial"), (card.model, "name"), (card.metrics[0], "value"), (card.metrics[0], "new")):
        with pytest.raises(ValueError, match=r"frozen|no field"):
            setattr(part, field, None)
    with pytest.raises(ValueError, match="frozen"):
        card.metrics[0].params.size = 4
    with pytest.raises(TypeError):
        card.metrics[0] = card.metrics[0]
    changed = card.but(model=card.model.but(name="other"))
    assert (card.model.name, changed.model.name, changed.metrics) == ("made", "other", card.metrics)
    assert changed.but(model=card.model) == card
    with pytest.raises(ValueError, match="metrics hold 'bits_per_dim' twice"):
        card.but(metrics=card.metrics * 2)


def test_what_was_never_said_stays_absent_and_null_stays_null() -> None:
    said = {"name": "m", "family": "f", "tag": None, "weights": None}
    entry = ModelEntry.of(said)
    assert (entry.to_dict(), entry.config, entry.conditioning) == (said, None, "none")
    assert entry.but(tag="x").to_dict() == {**said, "tag": "x"}


def test_a_metric_s_own_params_are_kept_whatever_they_are_called() -> None:
    """Also by the names of what a class of pydantic's has, and by one that is said and null."""
    own = {"size": 3, "copy": [1, "a"], "json": {"a": None}, "model_fields": True, "reference": None}
    params = Params.of(own).but(n=5)
    assert params.to_dict() == {**own, "n": 5}
    assert {name: params.get(name) for name in own} == own
    assert (params.get("sizes", 7), params.get("seeds", 7), params.get("reference", 7)) == (7, 7, None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"value": math.nan}, "metric 'sharp'.value: expected a finite number, got NaN"),
        ({"value": "2"}, "metric 'sharp'.value: expected a number, got \"2\""),
        ({"relation": "<"}, "metric 'sharp'.relation: expected '=', '≤' or '≈', got \"<\""),
        ({"interval": {"low": 0.0}}, "metric 'sharp'.interval.high is missing"),
        ({"n": 2.5}, "metric 'sharp'.params.n: expected an integer, got 2.5"),
        ({"sizes": {1}}, "metric 'sharp'.params: Object of type set is not JSON serializable"),
        ({"share": math.inf}, "metric 'sharp'.params: Out of range float values are not JSON compliant"),
    ],
)
def test_a_metric_that_no_card_can_hold_is_told_to_its_author(options: dict[str, Any], told: str) -> None:
    entry = {"unit": "", "relation": None, "interval": None, "identity": {}, "value": 1.0, **options}
    with pytest.raises(ZooError, match=re.escape(told)):
        metric("sharp", 1, **entry)


def test_an_entry_holds_what_json_can() -> None:
    entry = metric("sharp", 1, 2, unit="", relation=None, interval=None, identity={}, sizes=(1, 2), ids=["a"])
    assert (entry.value, entry.params.get("sizes"), entry.params.ids) == (2.0, [1, 2], ("a",))


def test_an_interval_that_is_not_symmetric_is_told_by_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    around, lopsided = Interval.around(0.5, 0.01, "normal", 300), Interval(low=0.4, high=0.9, method="bootstrap")
    assert around.shown(0.5, 3) == "± 0.010" and lopsided.shown(0.5, 2) == "[0.40, 0.90]"
    found = made_card("a", distance(0.5).but(interval=lopsided), distance(0.5, "test"))
    monkeypatch.setattr("zoo_bench.evaluation.evaluate.evaluate", lambda *_, **__: found)
    lines = CliRunner().invoke(evaluate_command, ["a", "--quiet"], catch_exceptions=False).output.splitlines()
    assert [line.partition(")")[2].strip() for line in lines[1:]] == ["0.5000 [0.4000, 0.9000]", "0.5000 ± 0.0100"]
