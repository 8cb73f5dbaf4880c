"""Options that several commands share, and what they mean. Nothing heavy is imported before one runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from zoo_core.errors import ZooError

data_dir = click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of data sets (default: ZOO_DATA).")
processes = click.option("--processes", type=int, help="Number of processes on this machine, one per GPU.")


def launched(count: int | None) -> None:
    """Where `--processes` asks for several: run this very command as so many, and end with their exit status."""
    from zoo_bench import processes

    if processes.must_launch(count):
        sys.exit(processes.launch(count or 1, sys.argv[1:]))
    if not processes.is_main():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the main process speaks for all


def pairs_of(items: tuple[str, ...], option: str = "--set", example: str = "hidden=256") -> dict[str, str]:
    pairs = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise ZooError(f"{option} {item}: expected KEY=VALUE, e.g. {option} {example}")
        pairs[key] = value
    return pairs
