"""Encoders and classifiers draw nothing; they are trained, saved, loaded and held to laws like any model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import right_models
import torch
from right_models import Chain, PrincipalAxes, Softmax, spec_of
from test_plugins import Site

import zoo_core
from zoo_core import Batch, ImageSpec, LocalStep, Trainable, ZooError, weights
from zoo_core.config import Config
from zoo_core.testing import check, structured_images, twelve_laws

IMAGES = ImageSpec(channels=1, height=4, width=4, levels=4, classes=3)

PLUGIN = """
from zoo_core import Config, ModelSpec, Paper, hookimpl

def spec(name, target, **known):
    paper = Paper(title="t", authors="a", year=2026, url="https://example.org")
    return ModelSpec(name=name, family="toy", summary="a toy", target=f"right_models:{target}", config=Config(),
                     tiny=Config(), paper=paper, **known)

@hookimpl
def zoo_models():
    return [spec("axes", "PrincipalAxes", kind="encoder"), spec("chain", "Chain", likelihood="exact"),
            spec("softmax", "Softmax", kind="classifier", conditioning="class")]
"""


def batch(n: int = 200) -> Batch:
    return Batch(*structured_images(IMAGES, n))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site")
    site.install("zoo-toys", PLUGIN)
    return site


def zoo(site: Site, *arguments: str) -> tuple[int, str, str]:
    here = str(Path(right_models.__file__).parent)
    done = site.run(*arguments, PYTHONPATH=f"{site.folder}:{here}", ZOO_PLUGINS="zoo_toys")
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("model", [PrincipalAxes, Softmax])
def test_the_laws_of_training_are_those_that_apply(model: type[Trainable], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twelve_laws, "_imports_torch", lambda package: False)
    status = {result.name: result.status for result in check(spec_of(model))}
    assert {name for name, found in status.items() if found == "holds"} == {"builds", "accumulates", "resumes"}
    assert {found for name, found in status.items()} == {"holds", "not applicable"}


@pytest.mark.parametrize(("model", "kind"), [(PrincipalAxes, "generative"), (Chain, "encoder")])
def test_a_wrong_kind_is_caught(model: type[Trainable], kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twelve_laws, "_imports_torch", lambda package: False)
    spec = replace(spec_of(model), kind=kind, likelihood="none")
    object.__setattr__(spec, "likelihood", spec_of(model).likelihood)  # so that the kind alone is wrong
    builds = next(result for result in check(spec) if result.name == "builds")
    assert builds.status == "broken" and f"kind='{kind}'" in builds.message


def test_a_spec_is_of_a_kind_that_exists() -> None:
    with pytest.raises(ZooError, match="kind must be one of"):
        replace(spec_of(Softmax), kind="regressor")  # type: ignore[arg-type]
    with pytest.raises(ZooError, match="kind 'classifier' has no likelihood"):
        replace(spec_of(Softmax), likelihood="exact")


def test_a_classifier_learns_and_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model = Softmax(IMAGES, Config())
    step = LocalStep(model, lr=0.05)
    losses = [float(step.run(batch())["loss"]) for _ in range(50)]
    assert losses[-1] < 0.5 * losses[0]
    weights.save(model, tmp_path / "weights", "softmax", {"images_seen": 10_000})
    again = weights.load_folder(tmp_path / "weights", expected=spec_of(Softmax))
    assert isinstance(again, Softmax) and not again.training
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))
    x, labels = structured_images(IMAGES, 200)
    assert (again.predict(x) == labels).float().mean() > 0.9


def test_a_classifier_needs_labels() -> None:
    with pytest.raises(ZooError, match="labels: expected int64"):
        LocalStep(Softmax(IMAGES, Config())).run(Batch(batch().x))


def test_lists_show_them_where_they_are_asked_for(site: Site) -> None:
    names = {line.split()[0] for line in zoo(site, "list")[1].splitlines()}
    assert "chain" in names and not names & {"axes", "softmax"}
    rows = [line.split()[:3] for line in zoo(site, "list", "--kind", "all")[1].splitlines()]
    assert rows[0] == ["MODEL", "FAMILY", "KIND"]
    kinds = {name: kind for name, family, kind in rows if family == "toy"}
    assert kinds == {"axes": "encoder", "chain": "generative", "softmax": "classifier"}
    found = json.loads(zoo(site, "list", "--kind", "classifier", "--json")[1])
    assert [(entry["name"], entry["kind"]) for entry in found] == [("softmax", "classifier")]
    code, _, error = zoo(site, "list", "axes")
    assert code == 1 and "no generative model matches 'axes', but another one does: add --kind all" in error
    assert "kind        encoder" in zoo(site, "show", "axes")[1]


def test_lists_of_names_are_of_models_that_draw() -> None:
    """What a suite or a page goes through."""
    names = zoo_core.list_models()
    assert names and set(names) <= set(zoo_core.list_models(kind=None))
    assert not set(names) & set(zoo_core.list_models(kind="encoder"))


def test_sampling_one_says_that_it_draws_nothing(site: Site, tmp_path: Path) -> None:
    weights.save(PrincipalAxes(IMAGES, Config()), tmp_path / "weights", "axes")
    code, _, error = zoo(site, "sample", str(tmp_path / "weights"), "--out", str(tmp_path / "x.png"))
    assert code == 1
    assert "is of kind 'encoder' and draws no images; `zoo list` shows the models that do" in error
    assert "Traceback" not in error and not (tmp_path / "x.png").exists()
