"""Samples while training: their share of the time, Ctrl-C in the middle of one, and that they change no number."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import zoo_autoencoder.vae.model
from safetensors.torch import load_file
from zoo_bench import train
from zoo_bench.training import previews
from zoo_bench.training.interruption import Interruption
from zoo_bench.training.previews import Previews

import zoo_core
from zoo_core import Config, GenerativeModel, ImageSpec, Trainable

Recipes = Callable[..., Path]
IMAGES = ImageSpec(channels=1, height=8, width=8, levels=17)


class Clock:
    """Time that passes only where something takes it."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(previews, "time", clock)
    return clock


def taking(seconds: Callable[[int], float], clock: Clock | None = None) -> GenerativeModel:
    """A model whose `sample(n)` takes so many seconds."""
    model = zoo_core.create("made", IMAGES, hidden=(4,))

    def sample(n: int, **options: object) -> torch.Tensor:
        if clock is None:
            time.sleep(seconds(n))
        else:
            clock.now += seconds(n)
        return torch.zeros(n, *IMAGES.shape, dtype=torch.uint8)

    model.sample = sample
    return model


def made(folder: Path, said: list[str], interruption: Interruption | None = None, copying: float = 0.0) -> Previews:
    interruption = interruption or Interruption(threading.Event())
    say = said.append
    real = torch.arange(16, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, *IMAGES.shape)
    return Previews(folder, IMAGES, real=real, seed=0, interruption=interruption, copying=copying, show=say, say=say)


@pytest.mark.parametrize("one", [1e-4, 0.01, 0.1, 0.7, 3.0, 40.0])
@pytest.mark.parametrize("batched", [False, True], ids=["one by one", "all at once"])
def test_all_together_take_a_tenth_of_the_training_at_most(
    one: float, batched: bool, clock: Clock, tmp_path: Path
) -> None:
    """At 1/256, 1/128, ... of a training of an hour. Where there is time for all images all are drawn."""
    model, said = taking(lambda n: one if batched else one * n, clock), []
    drawn = made(tmp_path, said)
    began, numbers = clock.now, []
    for k in range(8, 0, -1):
        trained = 3600 / 2**k
        x = drawn.on_the_way(k, lambda: model, trained)
        numbers.append(0 if x is None else len(x))
        # Without an alarm clock, an image that takes longer than thought is known when it is there.
        assert clock.now - began <= max(0.1 * trained, one)
    assert set(numbers) <= {0, 1, 2, 4, 8, 16, 32, 64}
    whole = one * (7 if batched else 64)
    assert numbers[-1] == 64 if whole < 45 else numbers[-1] < 64
    assert any("samples instead of 64 at" in line for line in said) == (min(numbers) < 64)
    assert len(list(tmp_path.glob("*.png"))) == sum(number > 0 for number in numbers)


def test_nothing_is_begun_that_is_known_to_take_too_long(clock: Clock, tmp_path: Path) -> None:
    model, said = taking(lambda n: 5.0 * n, clock), []
    drawn = made(tmp_path, said, copying=1.0)
    assert drawn.on_the_way(1, lambda: model, 9.0) is None  # 0.9 s: not even a copy can be made
    assert clock.now == 100.0
    assert len(drawn.on_the_way(2, lambda: model, 200.0)) == 4  # in 20 s
    assert "4 samples instead of 64 at 2 images: one takes 5 s or more" in said[-1]
    lines = len(said)
    assert drawn.on_the_way(3, lambda: model, 240.0) is None  # 4 s left
    assert clock.now == 120.0
    assert len(said) == lines + 1  # in the bar; the line was there already
    assert drawn.on_the_way(4, lambda: model, 0.9) is None
    assert len(drawn.final(model, 300.0, "zoo sample X")) == 2  # 10 s left
    assert "2 samples instead of 64 in the last grid" in said[-1]


def test_the_last_grid_has_two_seconds_or_a_tenth_and_says_what_it_lacks(clock: Clock, tmp_path: Path) -> None:
    said: list[str] = []
    drawn = made(tmp_path, said)
    assert len(drawn.final(taking(lambda n: 0.02 * n, clock), 0.5, "zoo sample X")) == 64
    assert said == ["drawing a preview"]
    assert len(made(tmp_path, said).final(taking(lambda n: 0.5 * n, clock), 60.0, "zoo sample X")) == 8
    assert said[-1].startswith("8 samples instead of 64 in the last grid: one takes 0.5 s")
    assert said[-1].endswith("all: zoo sample X")


def test_an_image_that_takes_too_long_is_broken_off(tmp_path: Path) -> None:
    """By the clock on the wall: half a second is a tenth of five."""
    interruption = Interruption(threading.Event())
    drawn = made(tmp_path, [], interruption)
    with interruption.listening():
        began = time.monotonic()
        assert drawn.on_the_way(1, lambda: taking(lambda n: 60.0), 5.0) is None
        assert 0.4 < time.monotonic() - began < 5
        assert (
            drawn.on_the_way(2, lambda: taking(lambda n: 60.0), 12.0) is None
        )  # not again before it may take a second
        assert time.monotonic() - began < 5
        assert len(drawn.on_the_way(3, lambda: taking(lambda n: 0.0), 30.0)) == 64
    assert not interruption.stop.is_set()
    assert torch.is_grad_enabled()


def test_a_signal_at_any_moment_of_an_attempt_leaves_nothing_behind() -> None:
    """A thousand alarms, most of them at the end of the work: the result or None, and nothing raised later."""
    interruption = Interruption(threading.Event())
    outcomes = set()
    with interruption.listening():
        for k in range(1000):
            end = time.monotonic() + 1e-4

            def work(end: float = end) -> bool:
                while time.monotonic() < end:
                    pass
                return True

            outcomes.add(interruption.attempt(work, 1e-4 + (k % 50) * 1e-6))
        time.sleep(0.01)
    assert outcomes == {True, None}


def test_errors_of_a_model_are_not_swallowed() -> None:
    def work() -> None:
        raise RuntimeError("shapes")

    interruption = Interruption(threading.Event())
    with interruption.listening(), pytest.raises(RuntimeError, match="shapes"):
        interruption.attempt(work, 10.0)


class Mirror(Trainable):
    """What draws nothing, and turns an image's levels round."""

    def train_step(self, batch, step):
        return {}

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.training
        return 16 - x


class Fitted(Mirror, GenerativeModel):
    """What can draw only once it is finished."""

    can_draw = False

    def sample(self, n, **options):
        assert self.can_draw
        return torch.zeros(n, *IMAGES.shape, dtype=torch.uint8)


@pytest.mark.parametrize("model", [Mirror, Fitted])
def test_what_draws_nothing_yet_is_seen_by_its_reconstructions(model: type, tmp_path: Path) -> None:
    """Each beside the image that it is of; 16 real images fill 32 places."""
    drawn = made(tmp_path, [])
    x = drawn.on_the_way(1, lambda: model(IMAGES, Config()).train(), 1000.0)
    assert x.shape == (64, 1, 8, 8)
    assert x[::2, 0, 0, 0].tolist() == [*range(16)] * 2
    assert torch.equal(x[1::2], 16 - x[::2])
    assert (tmp_path / "000000001.png").exists()


def test_reconstructions_that_take_too_long_are_fewer(clock: Clock, tmp_path: Path) -> None:
    class Slow(Mirror):
        def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
            clock.now += 0.5 * len(x)
            return x

    said: list[str] = []
    x = made(tmp_path, said).final(Slow(IMAGES, Config()), 50.0, "zoo sample X")
    assert len(x) == 2 * 8
    assert said[-1].startswith("8 reconstructions instead of 32 in the last grid: one takes 0.5 s")
    assert "zoo sample" not in said[-1]


def test_the_last_grid_is_of_samples_once_there_is_something_to_draw_from(tmp_path: Path) -> None:
    drawn, model = made(tmp_path, []), Fitted(IMAGES, Config())
    assert previews.what(model) == "reconstructions"
    model.can_draw = True
    assert previews.what(model) == "samples"
    assert not drawn.final(model, 1.0, "zoo sample X").any()


def test_previews_change_no_number(recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even those of a model whose `sample` is careless with itself and with everybody's random state."""
    sample = zoo_autoencoder.vae.model.VAE.sample
    drawn = []

    def careless(self, n, **options):
        drawn.append(n)
        self.train()
        for parameter in self.parameters():
            parameter.data.zero_()
        self.initialised.fill_(True)
        torch.rand(7), np.random.rand(7), random.random()  # noqa: NPY002
        torch.set_grad_enabled(False)
        return sample(self, n, **options)

    file = recipe()
    whole = train(file, out=tmp_path / "whole", quiet=True, grids=0)
    monkeypatch.setattr(zoo_autoencoder.vae.model.VAE, "sample", careless)
    monkeypatch.setattr(previews, "SHARE", 1e6)
    run = train(file, out=tmp_path / "run", quiet=True, grids=8)
    assert drawn[:7] == list(previews.PIECES)
    assert len(drawn) >= 5 * 7
    assert len(list((tmp_path / "run" / "grids").iterdir())) == len(drawn) // 7
    for weights in ("weights", "weights_raw"):
        one, two = (load_file(folder / weights / "model.safetensors") for folder in (whole.folder, run.folder))
        assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(("of_copy", "drawn"), [(False, 8), (True, None)], ids=["samples", "a copy of the model"])
def test_full_memory_is_no_reason_to_end_a_training(tmp_path: Path, of_copy: bool, drawn: int | None) -> None:
    def sample(n: int, **options: object) -> torch.Tensor:
        if n > 4 and not of_copy:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.zeros(n, *IMAGES.shape, dtype=torch.uint8)

    def copy() -> GenerativeModel:
        copies.append(model)
        if of_copy:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return model

    model = zoo_core.create("made", IMAGES, hidden=(4,))
    model.sample = sample
    copies, said = [], []
    previews = made(tmp_path, said)
    for k in (1, 2):
        x = previews.on_the_way(k, copy, 1000.0 * k)
        assert (None if x is None else len(x)) == drawn
    if of_copy:
        assert len(copies) == 1, "what did not fit once is not tried again"
        assert "no samples instead of 64 at 2 images: there is no memory for a copy of the model" in said[-1]
        assert len(previews.final(model, 1000.0, "zoo sample X")) == 64, "the last grid needs no copy"


# `zoo`, with a VAE that takes its time to sample, and says when it begins to.
SLOW = """
import sys, time
import zoo_autoencoder.vae.model
from zoo_bench.training import previews
from zoo_core.cli import main

sample = zoo_autoencoder.vae.model.VAE.sample

def slowly(self, n, **options):
    print("sampling", flush=True)
    {wait}
    return sample(self, n, **options)

zoo_autoencoder.vae.model.VAE.sample = slowly
previews.SHARE = 1e6
main()
"""
WAITS = {
    "one long call": "time.sleep(600)",
    "many short ones": "end = time.monotonic() + 600\n    while time.monotonic() < end: sum(range(1000))",
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_ctrl_c_in_a_preview_ends_within_two_seconds(recipe: Recipes, tmp_path: Path, wait: str) -> None:
    file, out = recipe(images=4_000), tmp_path / "run"
    process = started(SLOW.format(wait=wait), "train", file, "--out", out)
    assert process.stdout.readline() == "sampling\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    while json.loads((out / "run.json").read_text())["status"] != "interrupted":
        assert time.monotonic() - began < 2
        time.sleep(0.01)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert f"--out {out} --resume" in errors.replace("\n", "")
    assert not [path for path in out.rglob("*") if path.name.startswith(".") or path.suffix == ".png"]
    whole = train(file, out=tmp_path / "whole", quiet=True, grids=0)
    resumed = train(file, out=out, quiet=True, grids=0, resume=True)
    for weights in ("weights", "weights_raw"):
        one, two = (load_file(run.folder / weights / "model.safetensors") for run in (whole, resumed))
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_ctrl_c_in_the_last_grid_leaves_a_finished_run(recipe: Recipes, tmp_path: Path) -> None:
    file, out = recipe(), tmp_path / "run"
    process = started(SLOW.format(wait="time.sleep(600)"), "train", file, "--out", out, "--grids", 0)
    assert process.stdout.readline() == "sampling\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "finished, weights in" in errors.replace("\n", "")
    assert json.loads((out / "run.json").read_text())["status"] == "finished"
    assert load_file(out / "weights" / "model.safetensors")


@pytest.mark.slow
def test_ctrl_c_in_a_preview_of_two_processes_ends_both(recipe: Recipes, tmp_path: Path) -> None:
    """Only the main process draws, and only it hears the signal; both stop at the same step."""
    file, out = recipe(images=4_000), tmp_path / "run"
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2)
    pid = "import os, time\nif os.environ['RANK'] == '0': print(os.getpid(), flush=True)\n"
    script = tmp_path / "slow.py"
    script.write_text(pid + SLOW.format(wait="time.sleep(600)"))
    command = [sys.executable, *map(str, launcher), str(script), "train", str(file), "--out", str(out)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    main = int(process.stdout.readline())
    assert process.stdout.readline() == "sampling\n"
    os.kill(main, signal.SIGINT)
    process.communicate(timeout=60)
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    assert train(file, out=out, quiet=True, grids=0, resume=True).images == 4_000


def started(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
