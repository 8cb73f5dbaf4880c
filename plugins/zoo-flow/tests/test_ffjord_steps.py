"""FFJORD's equal steps, on one process and two, and what its estimates say of how they are made, what is refused."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torchdiffeq import odeint
from zoo_flow.ffjord.config import FIXED, FFJORDConfig
from zoo_flow.ffjord.model import FFJORD
from zoo_flow.ffjord.solver import Solver, State

from zoo_core import ImageSpec, ZooError
from zoo_core.likelihood import score

ODD = ImageSpec(channels=3, height=5, width=3, levels=256)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("method", FIXED)
def test_equal_steps_are_torchdiffeqs(method: str) -> None:
    def slope(t: Tensor, state: State) -> State:
        return torch.sin(3 * state[0]) + t, state[0].sum(1).cos()

    z = torch.randn(4, 3, generator=rng(), dtype=torch.float64)
    state = (z, z.new_zeros(4))
    times = torch.linspace(1, 0, 6, dtype=torch.float64)
    expected = odeint(slope, state, times, method=method)
    found = Solver(method, steps=5).solve(slope, state, 1.0, 0.0)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two[-1], rtol=1e-12, atol=1e-12)
    errors = [float((Solver(method, steps=n).solve(slope, state, 0.0, 1.0)[0] - fine(slope, state)).abs().max())
              for n in (20, 40)]  # fmt: skip
    order = {"euler": 1, "midpoint": 2, "rk4": 4}[method]
    assert abs(math.log2(errors[0] / errors[1]) - order) < 0.5


def fine(slope: object, state: State) -> Tensor:
    return Solver("dopri8", rtol=1e-12, atol=1e-13).solve(slope, state, 0.0, 1.0)[0]


def test_what_cannot_be_integrated_is_refused() -> None:
    for changes, message in (
        ({"train_solver": "dopri5"}, "equal steps .*: an adaptive solver takes other steps on each process"),
        ({"train_steps": 0}, "train_steps.*at least 1"),
        ({"solver": "dopri"}, "unknown solver 'dopri'; did you mean"),
        ({"steps": 0}, "steps >= 1"),
        ({"rtol": 0.0}, "rtol, a tolerance above 0"),
        ({"atol": -1e-5}, "atol, a tolerance above 0"),
        ({"hidden": ()}, "hidden"),
        ({"kinetic": -1.0}, "kinetic"),
    ):
        with pytest.raises(ZooError, match=message):
            FFJORDConfig(**changes)
    model = FFJORD(ImageSpec(channels=1, height=2, width=2, levels=4), FFJORDConfig(hidden=(4,)))
    x = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    for options, message in (
        ({"steps": -1, "solver": "rk4"}, "steps >= 1"),
        ({"rtol": 0}, "rtol"),
        ({"solver": "rk5"}, "unknown solver"),
        ({"trace": "hutchison"}, "did you mean 'hutchinson'"),
        ({"probes": 0}, "probes >= 1"),
        ({"draws": 0}, "draws >= 1"),
        ({"tolerance": 1}, "unknown option 'tolerance'"),
    ):
        with pytest.raises(ZooError, match=message):
            model.log_prob_estimate(x, **options)
    with pytest.raises(ZooError, match="temperature"):
        model.sample(1, temperature=-1.0)
    with pytest.raises(ZooError, match="noise"):
        model.trajectory(torch.zeros(2, 3), 3)
    with pytest.raises(ZooError, match="n >= 2"):
        model.trajectory(torch.zeros(2, 4), 1)


def test_images_larger_than_any_sobol_sequence_have_points_too() -> None:
    model = FFJORD(ImageSpec(channels=3, height=96, width=96), FFJORDConfig(network="conv", hidden=(2,)))
    assert torch.equal(model.points(2, 1, rng())[0], torch.rand(2, 3, 96, 96, generator=rng()))
    u = model.points(2, 3, rng())
    assert u.shape == (3, 2, 3, 96, 96)
    assert not torch.equal(u[0], u[1])


def test_an_estimate_says_how_it_is_made() -> None:
    x = torch.zeros(1, *ODD.shape, dtype=torch.uint8)
    adaptive = {"solver": "dopri5", "rtol": 1e-5, "atol": 1e-5, "trace": "exact", "draws": 1}
    equal = {"solver": "rk4", "steps": 3, "trace": "hutchinson", "probes": 2, "probe": "rademacher", "draws": 4}
    for config, expected in (({}, adaptive), ({k: v for k, v in equal.items() if k != "probe"}, equal)):
        model = FFJORD(ODD, FFJORDConfig(hidden=(4,), **config))
        expected = {"estimator": f"{expected['solver']}, {expected['trace']} trace", **expected}
        assert model.estimate_protocol() == expected
        assert score(model, x).params == {"seed": 0, "chunk": 100, **expected}


SCRIPT = """
import json, os, sys, torch
from accelerate import Accelerator
from zoo_bench import train
torch.set_default_dtype(torch.float64)
train("ffjord", "digits", noise="global", quiet=True, grids=0, **json.loads(sys.argv[1]))
assert Accelerator().num_processes == int(os.environ.get("WORLD_SIZE", 1))
"""


@pytest.mark.slow
@pytest.mark.parametrize("network", ["dense", "conv"])
def test_two_processes_are_one_training(network: str, tmp_path: Path) -> None:
    """Gloo, uneven shares of 25 images: every process takes the same steps, none waits for another."""
    (tmp_path / "script.py").write_text(SCRIPT)
    changes = {"hidden": "16,8", "network": network, "train_steps": "3"}
    states = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        job = {"out": str(out), "images": 500, "batch": 25, "changes": changes}
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"] if processes == 2 else []
        command = [sys.executable, *launch, str(tmp_path / "script.py"), json.dumps(job)]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        states.append(load_file(out / "weights" / "model.safetensors"))
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=0, atol=1e-9)
