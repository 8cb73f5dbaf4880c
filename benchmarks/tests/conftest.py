"""Shared by the harness's tests: a recipe that trains in a second, and `zoo` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.fixture
def zoo() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `zoo ARGUMENTS` as a process."""

    def run(*arguments: object, timeout: float = 120, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "zoo_core", *map(str, arguments)]
        env = {**os.environ, "HF_HUB_OFFLINE": "1"}
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=timeout, **options)

    return run
