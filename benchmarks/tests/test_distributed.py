"""Two processes train as one does: the same parameters, in float64 with global noise, to rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = """
import sys, torch
from accelerate import Accelerator
from zoo_bench import train
torch.set_default_dtype(torch.float64)
model, config, out, micro_batch = sys.argv[1:]
changes = dict(pair.split("=") for pair in config.split(";"))
train(model, "digits", out=out, changes=changes, images=30 * 1297 if model == "gmm" else 1000, batch=25, ema=300,
      micro_batch=int(micro_batch), noise="global", quiet=True, grids=0)
assert Accelerator().num_processes == int(__import__("os").environ.get("WORLD_SIZE", 1))
"""


def run(folder: Path, model: str, config: str, processes: int, micro_batch: int) -> dict[str, torch.Tensor]:
    script, out = folder / "script.py", folder / f"{processes}-{micro_batch}"
    script.write_text(SCRIPT)
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)] if processes > 1 else []
    )
    env = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(script), model, config, str(out), str(micro_batch)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=240)
    assert done.returncode == 0, done.stderr
    return load_file(out / "weights" / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "config"), [("vae", "hidden=16"), ("made", "hidden=16;dropout=0"), ("gmm", "components=4")]
)
def test_processes_and_micro_batches_change_nothing(model: str, config: str, tmp_path: Path) -> None:
    """Batches of 25 on 2 processes are uneven, and micro-batches of 7 divide neither 12 nor 13."""
    one = run(tmp_path, model, config, processes=1, micro_batch=0)
    for processes, micro_batch in ((2, 0), (1, 7), (2, 7)):
        other = run(tmp_path, model, config, processes, micro_batch)
        for name, value in one.items():
            difference = (value.double() - other[name].double()).abs().max().item()
            assert difference < 1e-9, f"{name}: {difference:.2e} with {processes} processes, micro-batch {micro_batch}"
