"""A resumed training is the same training; what goes wrong stops it, keeps what is good, and says how to go on."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from zoo_bench import train
from zoo_bench.training.accelerated import AcceleratedStep, accelerator
from zoo_bench.training.checkpoint import RunFolder
from zoo_bench.training.recipe import Recipe, factor, plan
from zoo_bench.training.trainer import Interrupted, Options, Trainer, read_log

import zoo_core
from zoo_core import Diverged, ZooError

Recipes = Callable[..., Path]


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_run_leaves_weights_that_load_a_log_and_grids(recipe: Recipes, tmp_path: Path) -> None:
    run = train(recipe(), out=tmp_path / "run", quiet=True)
    assert run.images == 2_000
    model = zoo_core.load(str(run.weights))
    assert model.sample(3, generator=torch.Generator().manual_seed(0)).shape == (3, 1, 8, 8)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"
    assert read_log(tmp_path / "run")[-1]["images"] == 2_000
    assert (tmp_path / "run" / "grids" / "final.png").stat().st_size > 1000
    raw, averaged = tensors(tmp_path / "run" / "weights_raw"), tensors(run.weights)
    assert not same(raw, averaged)


def test_training_learns_and_is_reproducible(recipe: Recipes, tmp_path: Path) -> None:
    first = train(recipe(), out=tmp_path / "a", quiet=True, grids=0)
    second = train(recipe(), out=tmp_path / "b", quiet=True, grids=3, checkpoint_seconds=0.0)
    assert same(tensors(first.weights), tensors(second.weights))  # grids and checkpoints change nothing
    other = train(recipe(), out=tmp_path / "c", quiet=True, seed=4)
    assert not same(tensors(first.weights), tensors(other.weights))
    log = train(recipe(images=20_000), out=tmp_path / "d", quiet=True).folder
    assert read_log(log)[-1]["loss"] < 0.85 * 181  # a uniform model has 181 nats


@pytest.mark.parametrize("model", ["vae", "made", "gmm"])
def test_a_resumed_run_is_the_same_run_bit_for_bit(recipe: Recipes, tmp_path: Path, model: str) -> None:
    config = {"gmm": "components = 3", "made": "hidden = [16]\ndropout = 0.5"}.get(model, "hidden = [16]")
    file = recipe(model, images=40_000 if model == "gmm" else 2_000, config=config)
    whole = train(file, out=tmp_path / "whole", quiet=True)
    options = Options(out=tmp_path / "parts", quiet=True)
    for stop_after in (1, 7, 9):
        trainer = Trainer(plan(file), options)
        stop_at = trainer.step.index + stop_after
        run = trainer.step.run

        def run_then_stop(*arguments, run=run, trainer=trainer, stop_at=stop_at, **named):
            metrics = run(*arguments, **named)
            if trainer.step.index >= stop_at:
                trainer.options.stop.set()
            return metrics

        trainer.step.run = run_then_stop
        with pytest.raises(Interrupted, match="resume=True"):
            trainer.run()
        options = Options(out=tmp_path / "parts", quiet=True, resume=True)
    resumed = Trainer(plan(file), options).run()
    assert same(tensors(whole.weights), tensors(resumed.weights))
    assert same(tensors(whole.folder / "weights_raw"), tensors(resumed.folder / "weights_raw"))


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_resume(recipe: Recipes, tmp_path: Path) -> None:
    file = recipe(images=50_000_000)
    out = tmp_path / "run"
    command = [sys.executable, "-m", "zoo_core", "train", str(file), "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (out / "log.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert f"--out {out} --resume" in errors.replace("\n", "")
    held = RunFolder(out)
    assert held.read()["status"] == "interrupted"
    assert held.load_checkpoint()["seen"] > 0
    assert str(file) in errors.replace("\n", "")  # the command names the recipe it was given


def test_a_killed_run_resumes_from_its_last_checkpoint(recipe: Recipes, tmp_path: Path) -> None:
    file = recipe(images=30_000)
    whole = train(file, out=tmp_path / "whole", quiet=True)
    out = tmp_path / "run"
    command = [sys.executable, "-m", "zoo_core", "train", str(file), "--out", str(out), "--checkpoint-seconds", "0"]
    process = subprocess.Popen([*command, "--quiet"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    resumed = train(file, out=out, resume=True, quiet=True)
    assert same(tensors(whole.weights), tensors(resumed.weights))


def test_nan_stops_the_run_and_keeps_the_last_good_checkpoint(recipe: Recipes, tmp_path: Path) -> None:
    """A weight turns into NaN after step 12, with a checkpoint at every step."""
    out = tmp_path / "run"
    trainer = Trainer(plan(recipe(ema=0)), Options(out=out, quiet=True, checkpoint_seconds=0.0))
    run = trainer.step.run

    def run_and_spoil(*arguments, **named):
        metrics = run(*arguments, **named)
        if trainer.step.index == 12:
            next(trainer.model.parameters()).data[0, 0] = float("nan")
        return metrics

    trainer.step.run = run_and_spoil
    with pytest.raises(Diverged, match=r"vae\.digits: .* the last good checkpoint .* --overwrite --lr 0\.0001"):
        trainer.run()
    held = RunFolder(out)
    assert held.read()["status"] == "failed"
    assert "no longer finite" in held.read()["error"]
    assert not held.weights.exists()
    saved = held.load_checkpoint()
    assert saved["step"]["index"] == 11
    assert all(bool(value.isfinite().all()) for value in saved["model"].values() if value.is_floating_point())


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_gradient_that_is_nan_stops_the_run_before_the_weights_move(
    recipe: Recipes, tmp_path: Path, clip: float
) -> None:
    """The loss of step 7 is finite, its gradient is not: the slope of a root at 0 times 0."""
    out = tmp_path / "run"
    trainer = Trainer(plan(recipe(ema=500), clip=clip), Options(out=out, quiet=True, checkpoint_seconds=0.0))
    loss, values = trainer.model.loss, []

    def steep_at_seven(batch, **options):
        found = loss(batch, **options)
        root = (next(trainer.model.parameters()).sum() * 0).sqrt() if trainer.step.index == 7 else 0
        steep = found["loss"] + root
        values.append(float(steep.detach()))
        return {**found, "loss": steep}

    trainer.model.loss = steep_at_seven
    with pytest.raises(
        Diverged, match=r"the gradient of group 'model' is nan at step 7, after 350 .* --resume .* --overwrite --lr"
    ):
        trainer.run()
    assert len(values) == 8 and all(map(math.isfinite, values))
    held = RunFolder(out)
    assert held.read()["status"] == "failed" and not held.weights.exists()
    saved = held.load_checkpoint()
    assert saved["step"]["index"] == 7
    assert all(torch.equal(value, saved["model"][name]) for name, value in trainer.model.state_dict().items())
    assert all(bool(value.isfinite().all()) for value in (*saved["model"].values(), *saved["average"].values()))
    resumed = train(recipe(ema=500), clip=clip, out=out, resume=True, quiet=True, grids=0)  # of a loss without the root
    assert resumed.images == 2_000


def test_a_learning_rate_that_explodes_is_told(recipe: Recipes, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="start again with a lower learning rate"):
        train(recipe(lr=1e18, ema=0), out=tmp_path / "run", quiet=True)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


def test_finish_runs_once_for_each_set_of_weights(recipe: Recipes, tmp_path: Path) -> None:
    """What `finish` does to the raw weights must not leak into the averaged ones."""
    trainer = Trainer(plan(recipe()), Options(out=tmp_path / "run", quiet=True, grids=0))
    seen = []

    def finish(step) -> None:
        first = next(trainer.model.parameters())
        seen.append(first.detach().clone())
        first.data += 1.0

    trainer.model.finish = finish
    trainer.run()
    raw, averaged = seen
    assert not torch.equal(raw, averaged)
    name = next(name for name, _ in trainer.model.named_parameters())
    assert torch.equal(tensors(tmp_path / "run" / "weights_raw")[name], raw + 1)
    assert torch.equal(tensors(tmp_path / "run" / "weights")[name], averaged + 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trackers": ("tensorbord",)}, "did you mean 'tensorboard'"),
        ({"precision": "fp16"}, "fp16 needs a GPU"),
        ({"resume": True, "overwrite": True}, "give one of them"),
        ({"lr": float("nan")}, "expected float, got nan"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    recipe: Recipes, tmp_path: Path, settings: dict, message: str
) -> None:
    if "precision" in settings and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ZooError, match=message):
        train(recipe(), out=tmp_path / "run", quiet=True, **settings)
    assert not (tmp_path / "run").exists()


def test_a_folder_with_another_run_is_left_alone(recipe: Recipes, tmp_path: Path) -> None:
    out = tmp_path / "run"
    file = recipe()
    train(file, out=out, quiet=True)
    before = tensors(out / "weights")
    with pytest.raises(ZooError, match=r"holds another run: recipe\.seed is 3 there and 5 here"):
        train(file, out=out, quiet=True, seed=5)
    with pytest.raises(ZooError, match="this same run, finished"):
        train(file, out=out, quiet=True)
    assert same(before, tensors(out / "weights"))
    assert not same(before, tensors(train(file, out=out, quiet=True, seed=5, overwrite=True).weights))
    with pytest.raises(ZooError, match="holds no run to resume"):
        train(file, out=tmp_path / "new", resume=True, quiet=True)


def test_a_folder_with_other_files_or_a_file_is_left_alone(recipe: Recipes, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("precious")
    with pytest.raises(ZooError, match="holds files that are no run of zoo"):
        train(recipe(), out=tmp_path / "thesis", quiet=True)
    with pytest.raises(ZooError, match="is a file"):
        train(recipe(), out=tmp_path / "thesis" / "chapter.tex", quiet=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "precious"


def test_a_full_disk_stops_the_run_and_keeps_the_last_checkpoint(recipe: Recipes, tmp_path: Path, zoo) -> None:
    """A limit on file size stands in for the full disk: the weights' own file, written last of all, no longer fits."""
    import resource

    out = tmp_path / "run"
    train(recipe(images=2_000), out=out, quiet=True, grids=0)
    checkpoint, weights = out / "checkpoint.pt", out / "weights" / "model.safetensors"
    size = checkpoint.stat().st_size
    assert weights.stat().st_size < size
    before = RunFolder(out).load_checkpoint()["seen"]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    # The same run with a larger budget would be another run, so its folder is claimed by hand.
    described = json.loads((out / "run.json").read_text())
    described["identity"]["recipe"]["images"] = 10**7
    (out / "run.json").write_text(json.dumps({**described, "status": "interrupted"}))
    file = recipe(images=10**7)
    done = zoo("train", file, "--out", out, "--resume", "--checkpoint-seconds", "0", "--quiet", preexec_fn=limit)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert RunFolder(out).load_checkpoint()["seen"] == before
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs a read-only file system")
def test_a_read_only_output_is_one_clear_line(recipe: Recipes, zoo) -> None:
    done = zoo("train", recipe(), "--out", "/proc/zoo", "--quiet")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: /proc/zoo")


def test_gradients_are_those_of_the_reference_step(tmp_path: Path) -> None:
    """`AcceleratedStep` in uneven micro-batches against `LocalStep` on the whole batch, in float64."""
    images = zoo_core.ImageSpec(channels=1, height=4, width=4, levels=3)
    x = torch.randint(3, (25, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    gradients = []
    for accelerated in (False, True):
        torch.manual_seed(1)
        model = zoo_core.create("vae", images, hidden=(8,), latent=2).double()
        if accelerated:
            step = AcceleratedStep(model, accelerator(1), lr=1e-3, data=zoo_core.Batch(x), micro_batch=7)
        else:
            step = zoo_core.LocalStep(model, lr=1e-3)
        loss = step.run(zoo_core.Batch(x))["loss"]
        gradients.append([loss, *(parameter.grad for parameter in model.parameters())])
    for one, other in zip(*gradients):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_schedules_rise_and_fall_with_images_seen() -> None:
    recipe = Recipe(model="made", data="digits", images=10_000, batch=100, schedule="cosine", warmup=1000)
    assert factor(recipe, 0) == pytest.approx(0.1, rel=1e-3)
    assert factor(recipe, 5000) == pytest.approx(0.5)
    assert factor(recipe, 10_000) == pytest.approx(0.0, abs=1e-12)
    assert factor(recipe.override({"schedule": "constant", "warmup": 0}), 9_999) == 1.0


def test_a_tracker_writes_its_events(recipe: Recipes, tmp_path: Path) -> None:
    train(recipe(), out=tmp_path / "run", quiet=True, trackers=("tensorboard",))
    assert list((tmp_path / "run").rglob("events.out.tfevents*"))


def test_bf16_trains(recipe: Recipes, tmp_path: Path) -> None:
    run = train(recipe(), out=tmp_path / "run", quiet=True, precision="bf16")
    assert all(value.dtype != torch.bfloat16 for value in tensors(run.weights).values())
    assert read_log(run.folder)[-1]["loss"] < 190


def test_the_global_random_state_is_left_as_it_was(recipe: Recipes, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    train(recipe(), out=tmp_path / "run", quiet=True)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mad", {}, "unknown model 'mad'.*'made'"),
        ("made.digts", {}, r"unknown recipe 'made\.digts'; did you mean 'made\.digits'"),
        ("made", {"data": "digts"}, "unknown data set 'digts'; did you mean 'digits'"),
        ("made.digits", {"lr": -1.0}, r"Recipe\.lr: expected a number above 0"),
        ("made.digits", {"precision": "bf61"}, "did you mean 'bf16'"),
        ("made.digits", {"images": 0}, r"Recipe\.images: expected at least 1"),
        ("made.digits", {"changes": {"hiden": "3"}}, r"MADEConfig\.hiden: unknown key; did you mean 'hidden'"),
        ("made.digits", {"changes": {"hidden": "many"}}, r"MADEConfig\.hidden.*expected .* got 'many'"),
        ("./no.toml", {}, "does not exist"),
    ],
)
def test_bad_requests_name_what_is_wrong(name: str, settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=message):
        train(name, out=tmp_path / "run", quiet=True, **settings)
    assert not (tmp_path / "run").exists()


def test_a_recipe_with_an_unknown_key_or_bad_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('model = "made"\ndata = "digits"\nimages = 10\nlearning_rate = 1.0\n')
    with pytest.raises(ZooError, match=r"Recipe\.learning_rate: unknown key"):
        plan(path)
    path.write_text("model = made")
    with pytest.raises(ZooError, match="not valid TOML"):
        plan(path)
    path.write_text("images = 3")
    with pytest.raises(ZooError, match="'model' is missing"):
        plan(path)
