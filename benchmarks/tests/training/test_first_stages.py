"""Training in stages: the recipe's `init` fills a submodule, strictly, and those weights are part of what a run is."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo_autoregressive.configs import FVSBNConfig
from zoo_autoregressive.fvsbn import FVSBN
from zoo_bench.training import first_stages
from zoo_bench.training.recipe import Plan, Recipe, is_of, plan
from zoo_bench.training.trainer import Interrupted, Options, Trainer

import zoo_core
from zoo_core import Batch, Config, GenerativeModel, ImageSpec, ModelSpec, Paper, Step, ZooError, weights

IMAGES = ImageSpec(channels=1, height=8, width=8, levels=17, classes=10)


@dataclass(frozen=True, kw_only=True)
class OnTopConfig(Config):
    """A first stage's config inside of one's own."""

    first_stage: FVSBNConfig = field(default_factory=FVSBNConfig)


class OnTop(GenerativeModel):
    """Draws what its frozen first stage draws, shifted by what it learns itself."""

    first_stages = ("first_stage",)

    def __init__(self, images: ImageSpec, config: OnTopConfig) -> None:
        super().__init__(images, config)
        self.first_stage = FVSBN(images, config.first_stage).requires_grad_(False)
        self.shift = nn.Parameter(torch.zeros(images.shape))
        self.linear = nn.Linear(1, 1)  # a submodule that is no model

    def loss(self, batch: Batch) -> Tensor:
        v = self.shift + batch.extra["eps"]
        return (batch.x - v).square().mean() + self.linear(v.flatten(1)[:, :1]).square().mean()

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {"loss": step.minimize(self.loss, batch.with_(eps=step.randn(batch, *self.images.shape)))}

    def sample(self, n: int, *, labels: Any = None, text: Any = None, generator: Any = None, **options: Any) -> Tensor:
        return self.first_stage.sample(n, generator=generator)


SPEC = ModelSpec(
    name="on_top",
    family="toy",
    summary="A toy",
    target=f"{__name__}:OnTop",
    config=OnTopConfig(),
    tiny=OnTopConfig(),
    paper=Paper(title="t", authors="a", year=2026, url="https://example.org"),
)


def saved(folder: Path, seed: int = 0, images: ImageSpec = IMAGES, **config: Any) -> Path:
    """Weights of a first stage, none of whose numbers is that of a new one."""
    model = FVSBN(images, FVSBNConfig(**config))
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.normal_(generator=generator)
    return weights.save(model, folder, "fvsbn", {"recipe": {}})


def planned(stage: Path | str, images: int = 400, **config: Any) -> Plan:
    recipe = Recipe(
        model="on_top", data="digits", images=images, batch=50, ema=100, init=(("first_stage", str(stage)),)
    )
    return Plan(SPEC, recipe, OnTopConfig(first_stage=FVSBNConfig(**config)))


def run(folder: Path, stage: Path | str, **options: Any) -> Trainer:
    trainer = Trainer(planned(stage), Options(out=folder, quiet=True, grids=0, **options))
    trainer.run()
    return trainer


def test_the_weights_are_there_stay_and_are_saved_again(tmp_path: Path) -> None:
    """Averaged weights too; nothing but the new model's own folder is needed to use them."""
    stage = saved(tmp_path / "stage")
    expected = weights.load_folder(stage).state_dict()
    trainer = run(tmp_path / "run", stage)
    shutil.rmtree(stage)
    for folder in (trainer.folder.weights, trainer.folder.raw_weights):
        model = weights.load_folder(folder, expected=SPEC)
        assert all(torch.equal(expected[key], value) for key, value in model.first_stage.state_dict().items())
        assert float(model.shift.detach().abs().max()) > 0
        assert model.sample(3).shape == (3, 1, 8, 8)


def test_which_weights_they_were_is_in_the_run_the_weights_and_the_card(tmp_path: Path) -> None:
    stage = saved(tmp_path / "stage")
    sha256 = weights.sha256_of(stage / weights.TENSORS)
    trainer = run(tmp_path / "run", stage)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["identity"]["init"] == {"first_stage": sha256}
    training = weights.read_config(trainer.folder.weights)["training"]
    assert training["recipe"]["init"] == {"first_stage": str(stage)}
    assert training["init"] == {"first_stage": {"weights": str(stage), "sha256": sha256}}
    assert first_stages.told(training) == {"init": {"first_stage": sha256}}
    assert first_stages.told({"recipe": {}}) == {}


def test_a_training_on_other_weights_is_another_training(tmp_path: Path) -> None:
    stage = saved(tmp_path / "stage")
    identity = run(tmp_path / "run", stage).identity
    assert is_of(planned(stage), json.loads(json.dumps(identity)))
    shutil.rmtree(stage)
    saved(stage, seed=1)  # at the same place
    assert not is_of(planned(stage), identity)
    with pytest.raises(ZooError, match=r"holds another run: init\.first_stage is '[0-9a-f]+' there"):
        run(tmp_path / "run", stage)


def test_a_resumed_run_is_the_same_run_bit_for_bit(tmp_path: Path) -> None:
    stage = saved(tmp_path / "stage")
    whole = run(tmp_path / "whole", stage)
    parts = Trainer(planned(stage), Options(out=tmp_path / "parts", quiet=True, grids=0))
    step = parts.step.run

    def three(*arguments: Any, **named: Any) -> dict[str, Tensor]:
        metrics = step(*arguments, **named)
        if parts.step.index == 3:
            parts.options.stop.set()
        return metrics

    parts.step.run = three  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        parts.run()
    resumed = run(tmp_path / "parts", stage, resume=True)
    for one, two in ((whole.folder.weights, resumed.folder.weights),):
        a, b = (weights.tensors_of(folder) for folder in (one, two))
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_other_weights_of_a_model_are_as_without(tmp_path: Path) -> None:
    """The first stage's file draws no random numbers: with other weights, all else begins at the same numbers."""
    models = [
        Trainer(planned(saved(tmp_path / str(k), seed=k)), Options(out=tmp_path / f"run{k}", quiet=True)).model
        for k in range(2)
    ]
    one, two = (dict(model.linear.state_dict()) for model in models)  # type: ignore[union-attr]
    assert all(torch.equal(one[key], two[key]) for key in one)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no such model": ({"stage": "fvsbm.digits"}, r"init\.first_stage = 'fvsbm\.digits': .*did you mean 'fvsbn'"),
    "no such tag": ({"stage": "fvsbn.digit"}, r"did you mean .*'fvsbn\.digits'.*--init first_stage=PATH"),
    "no such folder": ({"stage": "./nowhere"}, r"init\.first_stage = '\./nowhere': .*no such folder"),
    "no name": ({"stage": ""}, r"init\.first_stage = '': expected a name of weights .* or a folder .*, got nothing"),
    "another model": ({"stage": "made.digits"}, r"expected weights of FVSBN, got those of MADE"),
    "another config": (
        {"inputs": "onehot"},
        r"another config: inputs is 'scaled' there and 'onehot' here; .*\[config\.first_stage\].* "
        r"--set first_stage\.inputs=\"scaled\"",
    ),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD)
def test_bad_first_stages_are_refused_before_anything_is_written(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    stage = (given := dict(given)).pop("stage", None)
    with pytest.raises(ZooError, match=message):
        Trainer(
            planned(saved(tmp_path / "stage") if stage is None else stage, **given),
            Options(out=tmp_path / "run", quiet=True),
        )
    assert not (tmp_path / "run").exists()


def test_other_images_are_refused(tmp_path: Path) -> None:
    stage = saved(tmp_path / "stage", images=ImageSpec(channels=1, height=8, width=9, levels=17))
    with pytest.raises(ZooError, match=r"trained on images of 1x8x9, 17 levels, and these are of 1x8x8.*train a first"):
        Trainer(planned(stage), Options(out=tmp_path / "run", quiet=True))


def test_a_part_that_the_model_lacks_and_one_that_it_needs(tmp_path: Path) -> None:
    model, stage = OnTop(IMAGES, OnTopConfig()), str(saved(tmp_path / "stage"))
    for part in ("firststage", "linear"):
        with pytest.raises(ZooError, match=rf"unknown first stage '{part}'.*'?first_stage'?"):
            first_stages.fill(model, {part: stage, "first_stage": stage})
    with pytest.raises(ZooError, match=r"the recipe names none: expected init = \{first_stage = "):
        first_stages.fill(model, {})
    first_stages.fill(zoo_core.create("made", IMAGES, hidden=(4,)), {})  # one stage, as ever


def test_init_is_a_table_and_can_be_given_instead(tmp_path: Path) -> None:
    start, file = 'model = "fvsbn"\ndata = "digits"\nimages = 10\n', tmp_path / "recipe.toml"
    file.write_text(start + 'init = {first_stage = "fvsbn.digits", other = "made.digits"}')
    assert plan(file).recipe.to_dict()["init"] == {"first_stage": "fvsbn.digits", "other": "made.digits"}
    given = plan(file, init={"other": "./there"}, images=None).recipe
    assert dict(given.init) == {"first_stage": "fvsbn.digits", "other": "./there"}
    assert Recipe.from_dict(given.to_dict()) == given
    assert "init" not in plan("made.digits").recipe.to_dict()  # as before there was such a key
    for wrong in ('"fvsbn.digits"', "{first_stage = 3}"):
        file.write_text(start + f"init = {wrong}")
        with pytest.raises(ZooError, match=r"Recipe\.init: expected a table"):
            plan(file)


def test_the_command_takes_it(zoo: Any, tmp_path: Path) -> None:
    done = zoo("train", "made.digits", "--init", "first_stage=fvsbn.digits", "--out", tmp_path / "run")
    assert done.returncode == 1 and "MADE has no part that is trained before it" in done.stderr
    assert "init names 'first_stage': leave out --init" in done.stderr
    done = zoo("train", "made.digits", "--init", "fvsbn.digits", "--out", tmp_path / "run")
    assert "--init fvsbn.digits: expected KEY=VALUE, e.g. --init first_stage=" in done.stderr
    assert not (tmp_path / "run").exists()
