"""Several processes are one training and one evaluation: the same parameters, the same images, the same numbers."""

from __future__ import annotations

import json
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

# One launch computes many things: starting processes takes longer than training these small models.
SCRIPT = """
import json, os, sys, torch
from accelerate import Accelerator
from zoo_bench import train
torch.set_default_dtype(getattr(torch, sys.argv[1]))
for job in json.loads(sys.argv[2]):
    train(job.pop("model"), "digits", noise="global", quiet=True, grids=0, **job)
assert Accelerator().num_processes == int(os.environ.get("WORLD_SIZE", 1))
"""
FEW = {"ais.chains": "20", "ais.distributions": "10"}
JOBS = {
    "vae": {"images": 1000, "batch": 25, "ema": 300, "ema_ramp": 0.05, "changes": {"hidden": "16"}},
    "made": {"images": 1000, "batch": 25, "ema": 300, "changes": {"hidden": "16", "dropout": "0"}},
    "gmm": {"images": 30 * 1297, "batch": 25, "changes": {"components": "4"}},
    "bmm": {"images": 30 * 1297, "batch": 25, "changes": {"components": "4"}},
    "fvsbn": {"images": 1000, "batch": 25, "ema": 300},
    "dcgan": {"images": 500, "batch": 25, "ema": 300, "changes": {"norm": "none", "width": "8"}},
    "ddpm": {"images": 500, "batch": 25, "ema": 300},
    "vqvae_codes": {"images": 1500, "batch": 25, "changes": {"widths": "4,8", "codes": "8"}},  # past a restart
    "vqvae": {
        "images": 500,
        "batch": 25,
        "changes": {"first_stage.widths": "4,8", "first_stage.codes": "8", "prior.width": "8"},
        "init": {"first_stage": "vqvae_codes/weights"},  # the one above
    },
    "nice": {"images": 500, "batch": 25, "ema": 300, "changes": {"hidden": "16"}},
    "realnvp": {"images": 500, "batch": 25, "ema": 300, "changes": {"scales": "1", "width": "8", "blocks": "1"}},
    "realnvp_vd": {
        "images": 500,
        "batch": 25,
        "changes": {"flow.scales": "1", "flow.width": "8", "flow.blocks": "1", "dequantiser.width": "8"},
    },
    "glow": {"images": 500, "batch": 25, "ema": 300, "changes": {"depth": "2", "width": "8"}},  # past its first batch
    "maf": {"images": 500, "batch": 25, "ema": 300, "changes": {"blocks": "2", "hidden": "16"}},
    "nsf": {"images": 500, "batch": 25, "ema": 300, "changes": {"steps": "1", "hidden": "16"}},
    "ffjord": {"images": 300, "batch": 25, "changes": {"hidden": "16", "kinetic": "0.01", "jacobian": "0.01"}},
    "gan": {"images": 500, "batch": 25, "ema": 300, "changes": {"hidden": "32"}},
    "lsgan": {"images": 500, "batch": 25, "ema": 300, "changes": {"norm": "none", "width": "8"}},
    "wgan_gp": {"images": 500, "batch": 25, "changes": {"norm": "none", "width": "8", "n_critic": "2"}},
    "sngan": {"images": 500, "batch": 25, "changes": {"norm": "none", "width": "8", "n_critic": "2"}},
    "r3gan": {"images": 300, "batch": 25, "ema": 300, "changes": {"width": "8", "blocks": "1", "latent": "8"}},
    "rbm": {"images": 500, "batch": 25, "ema": 300, "changes": {"hidden": "16", "distributions": "20"}},
    "ebm": {"images": 300, "batch": 25, "changes": {"network": "mlp", "hidden": "16", "steps": "3", **FEW}},
    "dsm_ebm": {"images": 300, "batch": 25, "changes": {"network": "mlp", "hidden": "16", **FEW}},
}


def launched(processes: int) -> list[str]:
    """Python by itself, or so many by torchrun."""
    if processes == 1:
        return [sys.executable]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]


def trained(folder: Path, processes: int, micro_batch: int, dtype: str) -> dict[str, dict[str, torch.Tensor]]:
    """Every model's weights after a short training in this manner."""
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    jobs = [{"model": name, "out": str(folder / name), "micro_batch": micro_batch, **job} for name, job in JOBS.items()]
    for job in jobs:
        job |= {"init": {key: str(folder / place) for key, place in job.get("init", {}).items()}}
    command = [*launched(processes), str(folder / "script.py"), dtype, json.dumps(jobs)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)
    assert done.returncode == 0, done.stderr
    return {name: load_file(folder / name / "weights" / "model.safetensors") for name in JOBS}


def differences(one: dict[str, dict[str, torch.Tensor]], two: dict[str, dict[str, torch.Tensor]]) -> dict[str, float]:
    """The largest difference of any number, for each model."""
    return {
        model: max(float((value.double() - two[model][name].double()).abs().max()) for name, value in tensors.items())
        for model, tensors in one.items()
    }


@pytest.mark.slow
def test_processes_and_micro_batches_change_nothing(tmp_path: Path) -> None:
    """Batches of 25 on 2 processes are uneven, and micro-batches of 7 divide neither 12 nor 13."""
    one = trained(tmp_path / "one", 1, 0, "float64")
    for processes, micro_batch in ((2, 0), (1, 7), (2, 7)):
        other = trained(tmp_path / f"{processes}-{micro_batch}", processes, micro_batch, "float64")
        found = differences(one, other)
        print(f"float64, {processes} processes, micro-batches of {micro_batch or 'all'}: {found}")
        assert max(found.values()) < 1e-9, found
    start = trained(tmp_path / "again", 1, 0, "float64")
    assert differences(one, start) == dict.fromkeys(JOBS, 0.0)


@pytest.mark.slow
def test_float32_differs_by_rounding_only(tmp_path: Path) -> None:
    one, two = (trained(tmp_path / str(processes), processes, 0, "float32") for processes in (1, 2))
    found = differences(one, two)
    print(f"float32, 2 processes: {found}")
    assert max(found.values()) < 0.05, found


@pytest.mark.slow
def test_any_number_of_processes_draws_the_same_images_and_scores_the_same(zoo, tmp_path: Path) -> None:
    cards = {}
    for processes in (1, 2):
        out = tmp_path / str(processes)
        done = zoo("evaluate", "vae.digits", "--limit", 250, "--out", out, "--quiet", "--processes", processes)
        assert done.returncode == 0, done.stderr
        cards[processes] = json.loads(next(out.glob("*.json")).read_text())
    one, two = cards[1], cards[2]
    assert one["sampling"]["n"] == 250  # three chunks of a hundred for two processes: uneven
    assert one["sampling"]["sha256"] == two["sampling"]["sha256"]
    assert one["nats_file"]["sha256"] == two["nats_file"]["sha256"]
    assert [entry["value"] for entry in one["metrics"]] == [entry["value"] for entry in two["metrics"]]
    assert (one["environment"]["processes"], two["environment"]["processes"]) == (1, 2)


@pytest.mark.slow
def test_bench_on_two_processes_writes_each_card_once(zoo, tmp_path: Path) -> None:
    command = ("bench", "quick", "--models", "made", "--images", 1000, "--quiet", "--processes", 2, "--out", tmp_path)
    done = zoo(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cards, grids and report in") == 1  # the main process speaks for all
    card = json.loads(next((tmp_path / "cards").glob("made.*.json")).read_text())
    assert card["status"] == "ok"
    assert "is there already" in zoo(*command).stderr


@pytest.mark.slow
def test_a_killed_process_ends_the_others_and_the_checkpoint_stands(tmp_path: Path, zoo) -> None:
    out = tmp_path / "run"
    command = ["train", "vae.digits", "--out", str(out), "--processes", "2", "--checkpoint-seconds", "0.5", "--quiet"]
    parent = subprocess.Popen([sys.executable, "-m", "zoo_core", *command], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (out / "checkpoint.pt").exists())
    workers = children(parent.pid)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    message = parent.communicate(timeout=60)[1]
    assert parent.returncode == 1
    assert "was ended by SIGKILL" in message
    assert "--resume" in message
    assert "Traceback" not in message
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    seen = torch.load(out / "checkpoint.pt", weights_only=True)["seen"]
    done = zoo(*command, "--resume", timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "run.json").read_text())["images_seen"] > seen > 0


def children(process: int) -> list[int]:
    """The numbers of a process's children, oldest first."""
    text = subprocess.run(["ps", "--ppid", str(process), "-o", "pid="], capture_output=True, text=True).stdout
    return sorted(int(number) for number in text.split())


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@pytest.mark.parametrize("processes", [0, -1, 100_000])
@pytest.mark.parametrize("command", [("train", "made.digits"), ("bench", "quick"), ("evaluate", "made.digits")])
def test_a_number_of_processes_that_cannot_be_is_refused(zoo, command, processes: int, tmp_path: Path) -> None:
    done = zoo(*command, "--processes", processes, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert f"Error: --processes {processes}: expected 1 to" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_launcher_that_started_another_number_is_refused(zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    done = zoo("train", "made.digits", "--processes", 1)
    assert "--processes 1, but 3 were launched" in done.stderr
