"""A benchmark that is killed at any moment is finished by the same command, and its cards are an undisturbed run's."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from zoo_bench.cards import files

pytestmark = pytest.mark.slow

ARGUMENTS = ["bench", "quick", "--models", "gmm,vae", "--budget", "20000", "--quiet"]
KILLED_AFTER = ("gaussian.digits: evaluating", "vae.digits: training", "vae.digits: training", "vae.digits: evaluating")
UNEQUAL = ("performance", "environment", "timing", "command")  # how long it took, and where


def start(out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "zoo_core", *ARGUMENTS, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ)


def numbers(folder: Path) -> dict[str, dict]:
    """What a card says, without what two runs of the same thing differ in."""
    found = {}
    for card in files.read_all([folder / "cards"]):
        kept = {key: value for key, value in card.to_dict().items() if key not in UNEQUAL}
        kept["model"] = {key: value for key, value in kept["model"].items() if key != "training_seconds"}
        found[card.stem] = kept
    return found


def test_a_killed_benchmark_finishes_only_what_is_missing(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _, said = start(whole).communicate(timeout=300)
    moments = random.Random(0)
    for line in KILLED_AFTER:
        assert line in said
        process = start(killed)
        assert process.stderr
        assert any(line in heard for heard in process.stderr), f"it ended without saying {line!r}"
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    held = {path.name: path.stat().st_mtime_ns for path in (killed / "cards").glob("*.json")}
    assert held, "nothing was finished before the kill"
    last = start(killed)
    _, said = last.communicate(timeout=300)
    assert last.returncode == 0, said
    for name, moment in held.items():
        if not name.startswith("training_images"):  # the floor, which costs less than to look
            assert (killed / "cards" / name).stat().st_mtime_ns == moment, f"{name} was computed again"
    assert numbers(killed) == numbers(whole)
    assert not [path for path in killed.rglob(".*.json*") if path.is_file()], "half-written files are left"
