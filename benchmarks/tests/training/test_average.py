"""The moving average of weights: its half-life, its ramp, and what recipes meant before they had one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from zoo_bench import train
from zoo_bench.datasets import load as data
from zoo_bench.training.average import Average
from zoo_bench.training.checkpoint import RunFolder
from zoo_bench.training.recipe import is_of, plan
from zoo_bench.training.trainer import Interrupted, Options, Trainer

import zoo_core
from zoo_core import ZooError


def linear() -> torch.nn.Linear:
    """One weight, which was 0 and is 1 from now on."""
    model = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(model.weight)
    return model


def test_the_average_has_the_promised_half_life() -> None:
    average = Average(model := linear(), half_life=1000)
    torch.nn.init.ones_(model.weight)
    for step in range(10):
        average.update(model, 100, seen=100 * step)
    assert average.state["weight"].item() == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize(("seen", "half_life"), [(100, 5), (10_000, 500), (20_000, 1000), (10**9, 1000)])
def test_a_ramp_makes_it_a_share_of_the_images_seen(seen: int, half_life: int) -> None:
    average = Average(model := linear(), half_life=1000, ramp=0.05)
    torch.nn.init.ones_(model.weight)
    average.update(model, 10, seen=seen)
    assert average.state["weight"].item() == pytest.approx(1 - 0.5 ** (10 / half_life), rel=1e-5)


def test_a_short_training_has_an_average_as_good_as_its_last_weights(tmp_path: Path) -> None:
    """1,000 images, half-life 50,000: without a ramp the average is still the noise that the weights began as."""
    x = data.load("digits", "validation").pinned.x

    def score(folder: Path) -> float:
        """bits/dim."""
        with torch.no_grad():
            return -float(zoo_core.load(str(folder)).log_prob(x).mean()) / 64 / math.log(2)

    scores = {}
    for ramp in (0.0, 0.05):
        out = tmp_path / str(ramp)
        train("made.digits", out=out, quiet=True, grids=0, images=1000, ema=50_000, ema_ramp=ramp)
        scores[ramp] = score(out / "weights"), score(out / "weights_raw")
    (old, raw), (new, same) = scores.values()
    assert raw == same < 3.2  # the average doesn't touch the training
    assert old > 3.8  # uniform: log2 17 = 4.087
    assert new < raw + 0.01


# A recipe that was written down before there was a ramp, and what may be said today to be the same training.
@pytest.mark.parametrize(
    ("ema", "ramp", "same"), [(4000, 0.0, True), (4000, 0.05, False), (0, 0.0, True), (0, 0.05, True)]
)
def test_a_recipe_without_the_field_had_no_ramp(ema: int, ramp: float, same: bool) -> None:
    planned = plan("made.digits", ema=ema, ema_ramp=ramp)
    before = plan("made.digits", ema=ema).recipe.to_dict()
    del before["ema_ramp"]
    assert is_of(planned, {"recipe": before, "config": planned.config.to_dict()}) == same
    assert is_of(planned, planned.identity())
    assert is_of(planned, {"recipe": planned.recipe.to_dict(), "config": planned.config.to_dict()})  # as cards have it


def test_a_run_from_before_there_was_a_ramp_goes_on_without_one(tmp_path: Path) -> None:
    def trainer(**options: Any) -> Trainer:
        planned = plan("made.digits", images=1000, ema=500, ema_ramp=options.pop("ramp", 0.0))
        return Trainer(planned, Options(out=tmp_path / "run", quiet=True, grids=0, **options))

    stopped = trainer()
    stopped.options.stop.set()
    with pytest.raises(Interrupted):
        stopped.run()
    folder = RunFolder(tmp_path / "run")
    described = folder.read() or {}
    del described["identity"]["recipe"]["ema_ramp"]
    (folder.path / "run.json").write_text(json.dumps(described))
    with pytest.raises(ZooError, match=r"recipe\.ema_ramp is 0\.0 there and 0\.05 here"):
        trainer(resume=True, ramp=0.05)
    assert trainer(resume=True).run().images == 1000
