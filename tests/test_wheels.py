"""A plugin's wheel stays under 20 MB: weights ship in it, and whoever installs a family fetches all of them."""

from __future__ import annotations

import io
import os
import subprocess
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
MOST = 20 * 10**6  # bytes


def wheel_size(plugin: Path) -> int:
    """Bytes of the plugin's wheel, but for its metadata: what lies in its packages and git does not ignore, deflated.

    That is what Hatchling packs. Files that are new and not yet committed count too.
    """
    project = tomllib.loads((plugin / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *packages]
    listed = subprocess.run(listing, cwd=plugin, capture_output=True, text=True, check=True).stdout
    files = [plugin / name for name in listed.split("\0") if name and (plugin / name).is_file()]
    assert any(file.suffix == ".py" for file in files), f"{plugin}: no code in {packages}"
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.relative_to(plugin))
    return len(wheel.getvalue())


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """One that has a single line of code, in a repository of its own."""
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "pyproject.toml").write_text('[tool.hatch.build.targets.wheel]\npackages = ["src/zoo_large"]\n')
    (tmp_path / ".gitignore").write_text("runs/\n")
    (tmp_path / "src/zoo_large").mkdir(parents=True)
    (tmp_path / "src/zoo_large/__init__.py").write_text("x = 1\n")
    return tmp_path


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_a_wheel_stays_under_20_mb(plugin: Path) -> None:
    assert wheel_size(plugin) < MOST


@pytest.mark.parametrize(
    ("path", "content", "large"),
    [
        ("src/zoo_large/weights/large.digits/model.safetensors", os.urandom, True),
        ("src/zoo_large/weights/large.digits/model.safetensors", bytes, False),  # zeros take no place in a wheel
        ("src/zoo_large/runs/model.safetensors", os.urandom, False),  # ignored
        ("pages/pictures/large.png", os.urandom, False),  # in no package
    ],
    ids=["weights", "zeros", "ignored", "beside"],
)
def test_what_counts(new: Path, path: str, content: Callable[[int], bytes], large: bool) -> None:
    assert wheel_size(new) < 1000
    (new / path).parent.mkdir(parents=True)
    (new / path).write_bytes(content(MOST))
    assert (wheel_size(new) >= MOST) == large
