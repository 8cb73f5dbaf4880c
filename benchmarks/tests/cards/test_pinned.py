"""Cards and published weights find each other, by the sha256 of the file and of its content."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from made_cards import card, likelihood
from zoo_bench import evaluate, verify
from zoo_bench.cards import pinned
from zoo_bench.cards.types import Card, Weights
from zoo_bench.evaluation import jobs
from zoo_bench.tasks import suites

from zoo_core import ModelSpec, Pretrained, ZooError, load, pretrained, registry, weights


def of_weights(sha256: str) -> Card:
    one = card("gmm", likelihood(2.0, "≤"))
    return one.but(model=one.model.but(weights=Weights(source="recipe", sha256=sha256)))


@pytest.fixture
def again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModelSpec, Pretrained]:
    """gmm.digits as a second, equal training would have written it: other seconds, so another file."""
    spec = registry.models.get("gmm")
    entry = registry.find_pretrained(spec, "digits")
    before = pretrained.packaged(spec, entry)
    training = {**weights.read_config(before)["training"], "seconds": 12345.0}
    weights.save(load("gmm.digits"), tmp_path / "weights", "gmm", training)
    new = dataclasses.replace(entry, sha256=weights.read_config(tmp_path / "weights")["sha256"])
    monkeypatch.setattr(pretrained, "packaged", lambda spec, entry: tmp_path / "weights")
    changed = dataclasses.replace(spec, pretrained=(new,))
    lookup = registry.models.lookup
    offered = {"gmm": (registry.models.lookup("gmm")[0], changed)}
    monkeypatch.setattr(registry.models, "lookup", lambda name: offered.get(name) or lookup(name))
    assert new.sha256 != entry.sha256
    return changed, new


def test_a_card_of_equal_weights_is_of_the_published_ones(again: tuple[ModelSpec, Pretrained], tmp_path: Path) -> None:
    spec, entry = again
    content = weights.content_sha256(tmp_path / "weights")
    for sha256, same in ((entry.sha256, True), (content, True), ("0" * 64, False)):
        assert pinned.is_of(of_weights(sha256), spec, entry) is same
    assert not pinned.is_of(card("gmm", likelihood(2.0, "≤")), spec, entry)


def test_weights_on_the_hub_are_not_fetched_to_find_their_cards() -> None:
    spec = registry.models.get("gmm")
    entry = Pretrained(tag="digits", source="hf:nobody/nothing@main", sha256="1" * 64)
    assert not pinned.is_of(of_weights("0" * 64), spec, entry)
    assert pinned.is_of(of_weights("1" * 64), spec, entry)


def test_either_sha256_loads_published_weights(again: tuple[ModelSpec, Pretrained], tmp_path: Path) -> None:
    content = weights.content_sha256(tmp_path / "weights")
    assert content != again[1].sha256
    for sha256 in (None, content, again[1].sha256):
        load("gmm.digits", sha256=sha256)
    with pytest.raises(ZooError, match=r"its published sha256 is"):
        load("gmm.digits", sha256="0" * 64)


def test_a_new_card_knows_its_weights_by_their_content(again: tuple[ModelSpec, Pretrained], tmp_path: Path) -> None:
    one = evaluate("gmm.digits", "quick", out=tmp_path / "cards")
    assert one.model.weights is not None
    assert one.model.weights.sha256 == weights.content_sha256(tmp_path / "weights") != again[1].sha256
    for check in verify(tmp_path / "cards" / f"{one.stem}.json"):
        assert check.agrees, check
    suite, said = suites.load("quick"), []
    jobs.Job(suite=suite, task=suite.tasks[0], model="gmm", folder=tmp_path, pretrained=True).run(said.append)
    assert said == ["gmm.digits: its card is there already"]
