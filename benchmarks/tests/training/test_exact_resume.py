"""A training that is killed at any moment, and resumed, is the training that was not: bit for bit, on one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

# The parent has imported everything and trains nothing, so each child that it forks starts in no time.
KILL = """
import os, random, signal, sys, time
from zoo_bench import train
recipe, out, kills, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])

def training():
    import torch
    torch.set_num_threads(1)
    started = os.path.exists(os.path.join(out, "run.json"))
    train(recipe, out=out, quiet=True, grids=2, checkpoint_seconds=0.02, resume=started)

moments, landed = random.Random(0), 0
for kill in range(kills):
    child = os.fork()
    if not child:
        try:
            training()
        finally:
            os._exit(0)
    time.sleep(moments.uniform(0.05, seconds))
    os.kill(child, signal.SIGKILL)
    landed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    if os.path.exists(os.path.join(out, "weights")):
        break
print(landed)
if not os.path.exists(os.path.join(out, "weights")):
    training()
"""
# A model whose training remembers in `step.state`, drops units out, averages its weights and draws noise.
MODEL = '''
import torch
from torch import nn
from zoo_core import Batch, GenerativeModel
from zoo_core.pixels import Categorical

class Remembers(GenerativeModel):
    """Independent pixels, whose rates follow a running mean that lives in step.state."""

    def __init__(self, images, config):
        super().__init__(images, config)
        self.logits = nn.Parameter(torch.zeros(images.dims, images.levels))
        self.dropout = nn.Dropout(0.3)

    def log_prob(self, x, *, labels=None, text=None):
        self.check(x, labels, text)
        return Categorical(self.logits).log_prob(x.flatten(1)).sum(1)

    def sample(self, n, *, labels=None, text=None, generator=None):
        self.check_request(n, labels, text)
        return Categorical(self.logits.expand(n, -1, -1)).sample(generator).view(n, *self.images.shape)

    def loss(self, batch):
        logits = self.dropout(self.logits) + 0.1 * batch.extra["noise"]
        return -(Categorical(logits).log_prob(batch.x.flatten(1)).sum(1) * batch.extra["weight"]).mean()

    def train_step(self, batch, step):
        mean = batch.x.float().mean((0, 1))
        step.state["replay"] = 0.9 * step.state.get("replay", torch.zeros_like(mean)) + 0.1 * mean
        noise = step.randn(batch, self.images.dims, 1)
        weight = 1 + 0.01 * step.state["replay"].mean() * step.rand(batch)
        return {"loss": step.minimize(self.loss, batch.with_(noise=noise, weight=weight))}
'''
PLUGIN = '''
from dataclasses import dataclass
from zoo_core import Config, ModelSpec, Paper, hookimpl

@dataclass(frozen=True, kw_only=True)
class NoConfig(Config):
    """Nothing to choose."""

@hookimpl
def zoo_models():
    paper = Paper(title="A toy", authors="We", year=2026, url="https://example.org")
    return [ModelSpec(name="remembers", family="toy", summary="A toy.", target="zoo_remembers.model:Remembers",
                      config=NoConfig(), tiny=NoConfig(), likelihood="exact", paper=paper)]
'''
RECIPE = """
model = "remembers"
data = "digits"
images = {images}
batch = 50
lr = 0.02
schedule = "cosine"
ema = 2000
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH that holds an installed plugin."""
    package, facts = tmp_path / "site" / "zoo_remembers", tmp_path / "site" / "zoo_remembers-0.1.0.dist-info"
    package.mkdir(parents=True)
    facts.mkdir()
    (package / "__init__.py").write_text(PLUGIN)
    (package / "model.py").write_text(MODEL)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-remembers\nVersion: 0.1.0\n")
    (facts / "entry_points.txt").write_text("[zoo]\nremembers = zoo_remembers\n")
    return tmp_path / "site"


def python(plugin: Path, *arguments: object) -> str:
    path = os.pathsep.join(filter(None, [str(plugin), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_killed_at_twenty_random_moments_it_is_the_same_training(plugin: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "remembers.toml"
    recipe.write_text(RECIPE.format(images=400_000))
    straight = "import sys; from zoo_bench import train; train(sys.argv[1], out=sys.argv[2], quiet=True, grids=0)"
    python(plugin, "-c", straight, recipe, tmp_path / "whole")
    kills = int(python(plugin, "-c", KILL, recipe, tmp_path / "killed", 20, 1.5).split()[0])
    assert kills >= 10, f"only {kills} kills came before the end of the training"
    print(f"{kills} kills")

    for weights in ("weights", "weights_raw"):  # the average, and the last weights as they are
        one, two = (load_file(tmp_path / run / weights / "model.safetensors") for run in ("whole", "killed"))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)
    one, two = (torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("whole", "killed"))
    assert one["step"]["state"][0]["replay"].std() > 0
    del one["seconds"], two["seconds"]
    assert equal(one, two)
    left = [path for path in (tmp_path / "killed").rglob(".*") if path.name != ".gitignore"]
    assert not left, "temporary files of killed processes were left behind"
    log = [json.loads(line)["images"] for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert log == sorted(set(log))


def equal(one: object, two: object) -> bool:
    """Whether two checkpoints hold the same: model, average, optimisers, `step.state`, position in the data."""
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and torch.equal(one, two)
    if isinstance(one, dict):
        return isinstance(two, dict) and one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return isinstance(two, list) and len(one) == len(two) and all(map(equal, one, two))
    return bool(one == two)
