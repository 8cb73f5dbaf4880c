"""Shared by the harness's tests: a recipe, a small benchmark, `zoo` as a process, a study for judges, an own cache."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent / "shared"))  # modules that several tests import

if TYPE_CHECKING:
    from zoo_bench.judging.study import Study

RECIPE = """
model = "{model}"
data = "digits"
images = {images}
batch = 50
lr = {lr}
schedule = "cosine"
ema = {ema}
seed = 3
[config]
{config}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """A recipe file for a small model on the digits."""

    def write(
        model: str = "vae", images: int = 2_000, lr: float = 1e-3, ema: int = 500, config: str = "hidden = [16]"
    ) -> Path:
        path = tmp_path / f"{model}.toml"
        path.write_text(RECIPE.format(model=model, images=images, lr=lr, ema=ema, config=config))
        return path

    return write


@pytest.fixture(scope="session")
def benched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a benchmark: the baselines of the quick suite and a small learned model. Leave it as it is."""
    from zoo_bench import bench

    folder = tmp_path_factory.mktemp("bench")
    result = bench("quick", models="gmm", out=folder, quiet=True)
    assert not result.failed
    return folder


@pytest.fixture
def zoo() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `zoo ARGUMENTS` as a process."""

    def run(*arguments: object, timeout: float = 120, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "zoo_core", *map(str, arguments)]
        env = {**os.environ, "HF_HUB_OFFLINE": "1"}
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=timeout, **options)

    return run


@pytest.fixture
def sample_files(tmp_path: Path) -> list[str]:
    """Sample files of three models, the pixels of each unlike the others'."""
    from judges import NAMES

    paths = []
    for i, name in enumerate(NAMES):
        generator = np.random.default_rng(i)
        pixels = generator.integers(0, 17, (200, 8, 8, 1)).astype(np.uint8) // (i + 1)
        np.savez(tmp_path / f"{name}.npz", images=pixels, levels=np.int64(17))
        paths.append(str(tmp_path / f"{name}.npz"))
    return paths


@pytest.fixture
def make_study(tmp_path: Path, sample_files: list[str]) -> Iterator[Callable[..., Study]]:
    from zoo_bench.judging.server import open_study

    made = []

    def make(**options: Any) -> Study:
        options = {"n": 12, "mode": "contrast", **options}
        made.append(open_study(tmp_path / f"study{len(made)}.sqlite", sample_files, **options))
        return made[-1]

    yield make
    for study in made:
        study.close()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty cache, no downloads, and no network in memory from another test."""
    import torch
    from zoo_bench.features import extract as extractors

    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    extractors.network.cache_clear()
    yield
    extractors.network.cache_clear()
