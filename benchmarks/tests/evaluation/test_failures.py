"""One model's failure, or one process's, is told by all processes at once, and never leaves anybody waiting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import zoo_autoregressive.made.model
from zoo_bench import bench
from zoo_bench.cards import files

DIVERGES = """
import os, sys, torch
import zoo_autoregressive.made.model as made
step = made.MADE.train_step
def spoilt(self, batch, surroundings):  # a number that only this process has, and only this one sees broken
    metrics = step(self, batch, surroundings)
    broken = os.environ["RANK"] == "1" and surroundings.index >= 13
    return {**metrics, "own": torch.tensor(float("nan") if broken else 1.0)}
made.MADE.train_step = spoilt
"""
TRAIN = """
from zoo_bench import train
from zoo_core import Diverged
try:
    train("made.digits", out=sys.argv[1], images=2_000_000, quiet=True, grids=0)
except Diverged as error:
    print(f"<{error}>\\n", end="", flush=True)
os._exit(0)  # torch's threads may abort an interpreter that takes its time to end
"""
BENCH = """
from zoo_bench import bench
result = bench("quick", models="made,bmm", out=sys.argv[1], settings={"images": 200_000}, quiet=True)
print(f"<{[card.model.name for card in result.failed]}>\\n", end="", flush=True)
os._exit(0)
"""
FULL = """
import os, sys, torch
import zoo_autoregressive.made.model as made
from zoo_bench.training.accelerated import AcceleratedStep
from zoo_bench import train
from zoo_core import ZooError
loss, init = made.MADE.loss, AcceleratedStep.__init__
def limited(self, part, mask=0):
    if os.environ["RANK"] == "1":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
    return loss(self, part, mask)
def tries(self, *arguments, **named):  # as on a GPU
    init(self, *arguments, **named)
    self.trials = int(sys.argv[2])
made.MADE.loss, AcceleratedStep.__init__ = limited, tries
try:
    train("made.digits", out=sys.argv[1], images=2_000, quiet=True, grids=0)
except ZooError as error:
    print(f"<{type(error).__name__}: {error}>\\n", end="", flush=True)
    sys.exit(3 if type(error) is not ZooError else 0)
"""


def launched(script: str, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The script as two processes, which end in time or fail the test."""
    (folder / "script.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(folder / "script.py"), str(folder / "out"), *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=240)


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the processes printed between angle brackets, in order of the alphabet."""
    return sorted(part.partition(">\n")[0] for part in done.stdout.split("<")[1:])


@pytest.mark.slow
def test_what_one_process_sees_broken_stops_all_at_one_step(tmp_path: Path) -> None:
    done = launched(DIVERGES + TRAIN, tmp_path)
    assert done.returncode == 0, done.stderr
    other, own = said(done)
    assert "a number of another process is not finite at step" in other
    assert "own is nan at step" in own
    assert other.partition(", after ")[2] == own.partition(", after ")[2], "the same number of images"
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "failed"


@pytest.mark.slow
def test_a_benchmark_on_two_processes_goes_on_after_a_model_that_diverged_on_one(tmp_path: Path) -> None:
    done = launched(DIVERGES + BENCH, tmp_path)
    assert done.returncode == 0, done.stderr
    assert said(done) == ["['made']"] * 2
    written = [files.read(path) for path in (tmp_path / "out" / "cards").glob("bmm.*.json")]
    assert [card.status for card in written] == ["ok"]


@pytest.mark.slow
def test_one_process_whose_memory_is_full_stops_all(tmp_path: Path) -> None:
    """Found when it was tried alone: all know. Found in the middle of a step: its end is the others' end."""
    done = launched(FULL, tmp_path, 2)
    assert done.returncode == 0, done.stderr
    assert ["is full" in line and line.startswith("ZooError") for line in said(done)] == [True, True]
    (tmp_path / "later").mkdir()
    done = launched(FULL, tmp_path / "later", 0)
    assert done.returncode != 0
    assert "Disconnected: the memory of cpu:0 is full" in done.stdout


def test_a_model_with_a_bug_is_a_failed_card_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_step(self, batch, step):
        raise TypeError("unsupported operand")

    monkeypatch.setattr(zoo_autoregressive.made.model.MADE, "train_step", train_step)
    result = bench("quick", models="made,bmm", out=tmp_path, quiet=True, settings={"images": 2_000})
    (failed,) = result.failed
    assert failed.model.name == "made"
    assert failed.error == "TypeError: unsupported operand"
    assert [card.status for card in result.cards if card.model.name == "bmm"] == ["ok"]


def test_ctrl_c_ends_the_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train_step(self, batch, step):
        raise KeyboardInterrupt

    monkeypatch.setattr(zoo_autoregressive.made.model.MADE, "train_step", train_step)
    with pytest.raises(KeyboardInterrupt):
        bench("quick", models="made", out=tmp_path, quiet=True, settings={"images": 2_000})
