"""What a card says of the machine, the code and the command that made it."""

from __future__ import annotations

import functools
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from zoo_bench import processes
from zoo_bench.cards.types import Environment
from zoo_bench.datasets.load import public

_PACKAGES = ("zoo-core", "zoo-bench", "torch", "accelerate", "numpy", "scikit-learn")


def environment(device: str = "cpu", precision: str = "float32") -> Environment:
    """What the numbers were computed with."""
    import torch

    return Environment(
        **_git(),
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
        device=device,
        processes=processes.start().num_processes,
        threads=torch.get_num_threads(),
        precision=precision,
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def _git() -> dict[str, Any]:
    """The commit of this source tree, if it is one, and whether the tree differs from it."""

    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"git": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {"git": None, "dirty": None}


def command() -> str:
    """The command line of this process, without the folders that the program and your own files lie in."""
    program = Path(sys.argv[0]).name
    arguments = []
    for argument in sys.argv[1:]:
        before, found, place = argument.partition("folder:")
        own = Path(argument).name if Path(argument).is_absolute() else argument
        arguments.append(before + public(found + place) if place else own)
    return shlex.join(["zoo" if program == "__main__.py" else program, *arguments])
