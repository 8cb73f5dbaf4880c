"""The laws are not vacuous: small right models hold every law, and each wrong one is caught by the law named for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from right_models import RIGHT, Chain, Table, spec_of
from wrong_models import WRONG, Wrong

import zoo_core.testing.twelve_laws
from zoo_core.errors import ZooError
from zoo_core.model import GenerativeModel
from zoo_core.step import WeightedMean
from zoo_core.testing import LAWS, BrokenLaw, check, laws


@pytest.fixture(autouse=True)
def toys_are_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """These live beside torch in one file; that a plugin imports without torch is not theirs to show."""
    monkeypatch.setattr(zoo_core.testing.twelve_laws, "_imports_torch", lambda package: False)


@pytest.mark.parametrize("model", RIGHT)
@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["first-size", "all-sizes"])
def test_right_models_hold_every_law(model: type[GenerativeModel], slow: bool) -> None:
    assert not [result for result in check(spec_of(model), slow=slow) if result.status == "broken"]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_wrong_models_are_caught(wrong: Wrong) -> None:
    law, cases = next((law, cases) for law, cases in laws(spec_of(wrong.model), slow=True) if law.name == wrong.law)
    case = next(case for case in cases if replace(case.images, classes=0) == wrong.images)
    with pytest.raises(BrokenLaw, match=wrong.says):
        law.function(case)


def test_every_law_is_shown_to_bite() -> None:
    assert {law.name for law in LAWS} == {wrong.law for wrong in WRONG}


def test_a_step_that_averages_micro_batches_without_weights_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bug may be the step's, not the model's: what is descended, and what full passes average."""

    def unweighted(self: WeightedMean, tree: Any, images: int) -> None:
        add(self, tree, 1)

    add = WeightedMean.add
    monkeypatch.setattr(WeightedMean, "add", unweighted)
    law, cases = next((law, cases) for law, cases in laws(spec_of(Table)) if law.name == "accumulates")
    with pytest.raises(BrokenLaw, match="micro-batches"):
        law.function(cases[0])


def test_a_wrong_likelihood_word_is_broken() -> None:
    results = {result.name: result for result in check(replace(spec_of(Chain), likelihood="bound"))}
    assert results["builds"].status == "broken" and "'exact'" in results["builds"].message


def test_check_reports_every_law_in_order() -> None:
    heard = []
    results = check(spec_of(Table), report=heard.append)
    assert heard == results and [result.name for result in results] == [law.name for law in LAWS]
    not_applicable = {result.name for result in results if result.status == "not applicable"}
    assert not_applicable >= {"integrates", "bounded", "labels"}


class TakesNothing(Chain):
    """Every size is too small for it."""

    def __init__(self, images, config):
        raise ZooError("too small")


def test_a_model_that_takes_no_law_image_is_an_error() -> None:
    with pytest.raises(ZooError, match="refuses every image"):
        check(replace(spec_of(Chain), target=f"{__name__}:TakesNothing"))
