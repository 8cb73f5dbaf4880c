"""The laws are not vacuous: small right models hold every law, and each wrong one is caught by the law named for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from click.testing import CliRunner
from right_models import RIGHT, Chain, RunningTable, Table, spec_of
from wrong_models import WRONG, Wrong

import zoo_core.testing.twelve_laws
from zoo_core.errors import ZooError
from zoo_core.labels import ClassFrequencies
from zoo_core.model import GenerativeModel
from zoo_core.step import Trainable, WeightedMean
from zoo_core.testing import LAWS, BrokenLaw, LawResult, check, laws
from zoo_core.testing.cases import Case, NotApplicable
from zoo_core.testing.twelve_laws import samples


@pytest.fixture(autouse=True)
def toys_are_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """These live beside torch in one file; that a plugin imports without torch is not theirs to show."""
    monkeypatch.setattr(zoo_core.testing.twelve_laws, "_imports_torch", lambda package: False)


@pytest.mark.parametrize("model", RIGHT)
@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["first-size", "all-sizes"])
def test_right_models_hold_every_law(model: type[Trainable], slow: bool) -> None:
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


def test_running_statistics_of_batches_may_fall() -> None:
    """They do, so the law that is of full passes would be wrong about them; and it is told that there is none."""
    law, (case, *_) = next((law, cases) for law, cases in laws(spec_of(RunningTable)) if law.name == "never-falls")
    with pytest.raises(NotApplicable, match="no step makes a full pass"):
        law.function(case)
    model, data = case.build(), case.data()
    step, likelihoods = case.step(model, 12), []
    for batch in case.batches(12):
        step.run(batch)
        likelihoods.append(float(model.log_prob(data.x).mean()))
    assert likelihoods != sorted(likelihoods)
    results = {result.name: result for result in check(spec_of(RunningTable))}
    assert results["never-falls"].status == "not applicable"


def test_a_law_that_holds_on_one_size_applies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever another size says, before it or after it; where all say so, none does."""

    def results(*silent: int) -> LawResult:
        heard = []

        def function(case: Case) -> None:
            heard.append(case)
            if len(heard) - 1 in silent:
                raise NotApplicable(f"size {len(heard) - 1}")

        law = replace(next(law for law in LAWS if law.name == "builds"), function=function)
        monkeypatch.setattr(zoo_core.testing, "LAWS", (law,))
        (result,) = check(spec_of(Chain), slow=True)
        assert len(heard) > 2
        return result

    assert [results(number).status for number in (0, 1, 2)] == ["holds"] * 3
    assert results(*range(9)) == LawResult(1, "builds", "not applicable", "size 0")


class CountsClasses(Chain):
    """Draws without a condition, and yet learns from labels where images have classes."""

    def __init__(self, images, config):
        super().__init__(images, config)
        self.frequencies = ClassFrequencies(images.classes)

    def train_step(self, batch, step):
        self.frequencies.count(batch, step)
        return super().train_step(batch, step)


def test_images_with_classes_come_with_labels() -> None:
    """Here the spec's other configs are conditional, and `tiny` is not: the trainer would give it labels too."""
    spec = replace(spec_of(CountsClasses), conditioning="class")
    assert {case.images.classes for _, cases in laws(spec) for case in cases} == {3}
    assert not [result for result in check(spec) if result.status == "broken"]


class SeesCudnn(Chain):
    """Notes in what mode each of its steps found cuDNN."""

    seen: ClassVar[list[tuple[bool, bool]]] = []

    def train_step(self, batch, step):
        self.seen.append((torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark))
        return super().train_step(batch, step)


def test_a_resumed_training_is_compared_by_kernels_that_repeat_themselves() -> None:
    law, (case, *_) = next((law, cases) for law, cases in laws(spec_of(SeesCudnn)) if law.name == "resumes")
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    SeesCudnn.seen.clear()
    law.function(case)
    assert set(SeesCudnn.seen) == {(True, False)}
    after = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    assert after == before


class GlobalNoiseOfTheGpu(Chain):
    """Draws from the device's own generator, whatever it is given."""

    def sample(self, n, *, labels=None, text=None, generator=None, temperature=1.0):
        self.check_request(n, labels, text)
        return torch.randint(self.images.levels, (n, *self.images.shape), dtype=torch.uint8, device=self.device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA, and this machine has none")
def test_noise_of_the_gpu_s_global_generator_is_caught() -> None:
    cases = next(cases for law, cases in laws(spec_of(GlobalNoiseOfTheGpu), device="cuda") if law.name == "samples")
    with pytest.raises(BrokenLaw, match="still used the global one"):
        samples(cases[0])


class HalfWritten(GenerativeModel):
    """No `sample` yet: the class is still abstract."""

    def train_step(self, batch, step):
        return {}


def test_a_model_that_cannot_be_built_breaks_the_first_law() -> None:
    heard: list[LawResult] = []
    (result,) = check(replace(spec_of(Chain), target=f"{__name__}:HalfWritten"), report=heard.append)
    assert heard == [result]
    assert (result.number, result.status) == (1, "broken")
    assert "TypeError" in result.message and "sample" in result.message


def test_a_module_with_a_syntax_error_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_a_module.py").write_text("class Model(\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZooError, match=r"cannot import its target 'half_a_module:Model'.*half_a_module\.py"):
        check(replace(spec_of(Chain), target="half_a_module:Model"))


def test_a_device_that_cannot_be_is_named() -> None:
    with pytest.raises(ZooError, match="device 'foo' cannot be used here"):
        check(spec_of(Chain), device="foo")


def test_json_stays_json_for_a_model_that_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo_core import registry
    from zoo_core.cli import main

    half = replace(spec_of(Chain), target=f"{__name__}:HalfWritten")
    monkeypatch.setattr(registry, "spec", lambda name: half)
    done = CliRunner().invoke(main, ["check", "half", "--json"])
    assert done.exit_code == 1
    assert [entry["status"] for entry in json.loads(done.output)] == ["broken"]
    told = CliRunner().invoke(main, ["check", "half"])
    assert told.exit_code == 1 and "law  1  broken" in told.output and "fails 1 of 1 conformance tests" in told.output


class TakesNothing(Chain):
    """Every size is too small for it."""

    def __init__(self, images, config):
        raise ZooError("too small")


def test_a_model_that_takes_no_law_image_is_an_error() -> None:
    with pytest.raises(ZooError, match="refuses every image"):
        check(replace(spec_of(Chain), target=f"{__name__}:TakesNothing"))
