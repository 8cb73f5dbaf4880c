"""What a spec points to is there: every `target` of every plugin can be imported, whatever was moved since."""

from __future__ import annotations

import dataclasses

import pytest
from right_models import PrincipalAxes, Softmax, spec_of

from zoo_core import GenerativeModel, ModelSpec, Trainable, ZooError
from zoo_core.plugins import plugins
from zoo_core.registry import datasets, extractors, metrics, models
from zoo_core.specs import load_target

MODELS = models.all()
OTHER_KINDS = [spec_of(PrincipalAxes), spec_of(Softmax)]
TARGETS = {
    f"{type(spec).__name__} {spec.name}": spec.target for kind in (datasets, extractors, metrics) for spec in kind.all()
}
TARGETS |= {f"truth of {spec.name}": spec.truth for spec in datasets.all() if spec.truth}


def test_nothing_is_left_out() -> None:
    assert not {plugin.name: plugin.error for plugin in plugins().found if plugin.error}
    assert {spec.package for spec in MODELS} > {"zoo_bench", "zoo_autoregressive", "zoo_mixture"}
    assert {owner.partition(" ")[0] for owner in TARGETS} == {"DatasetSpec", "ExtractorSpec", "MetricSpec", "truth"}


@pytest.mark.parametrize("spec", [*MODELS, *OTHER_KINDS], ids=lambda spec: spec.name)
def test_the_class_of_a_model_is_where_its_spec_says(spec: ModelSpec) -> None:
    assert issubclass(spec.load_class(), GenerativeModel if spec.kind == "generative" else Trainable)


@pytest.mark.parametrize(("owner", "target"), TARGETS.items(), ids=TARGETS)
def test_a_target_is_where_its_spec_says(owner: str, target: str) -> None:
    assert callable(load_target(target, owner))


def test_a_target_left_behind_is_told() -> None:
    spec = next(spec for spec in MODELS if spec.name == "made")
    for target in ("zoo_autoregressive.made:MADE", "zoo_autoregressive.made_network:MaskedAutoencoder"):
        with pytest.raises(ZooError, match="model 'made': cannot import its target"):
            dataclasses.replace(spec, target=target).load_class()
