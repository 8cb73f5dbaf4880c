"""Progress bars for work that takes a while: `bar(description, total)` returns a function called with work done."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zoo_bench import processes

Bar = Callable[[str, int], Callable[[int], Any]]


def quiet_bar(description: str, total: int) -> Callable[[int], Any]:
    """No bar at all."""
    return lambda done: None


@contextmanager
def bars(quiet: bool = False) -> Iterator[Bar]:
    """Bars on the terminal's error stream; each vanishes with the block. Of several processes only the main one draws,
    its own share."""
    quiet = quiet or not processes.is_main()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True, quiet=quiet), transient=True) as progress:

        def bar(description: str, total: int) -> Callable[[int], Any]:
            task = progress.add_task(description, total=math.ceil(total / int(os.environ.get("WORLD_SIZE", "1"))))
            return lambda done: progress.update(task, advance=done)

        yield bar
