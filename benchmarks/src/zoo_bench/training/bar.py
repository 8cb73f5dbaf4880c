"""The line that a terminal shows of a training: how far, how fast, how long yet, and the losses that there is room for.

vae.digits ━━━━━━━━━━━━━━━━━━━━ 100% 6,401 images/s 0:00:31 total loss 52.31 kl 9.204
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

RATE, CLOCK = len("123,456 images/s"), len("0:00:00 total")
SHORTEST = 3  # letters of a loss's name


class Bar:
    """Drawn when there is something to tell: a thread that redraws it costs percents of a small model's training.

    done: of `total` images, those seen in an earlier part of the training, which took `seconds`.
    """

    def __init__(self, console: Console, name: str, total: int, done: int, seconds: float, silent: bool) -> None:
        name = _cut(name, console.width // 3)
        rest = console.width - len(name) - len("100%") - RATE - CLOCK - 5  # for bar and losses; five spaces between six
        whole = max(6, min(40, rest - 50))
        self._room = rest - whole
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=whole),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[rate]}", table_column=Column(no_wrap=True)),
            _Clock(seconds),
            TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True)),
        )
        self._progress = Progress(*columns, console=console, auto_refresh=False, disable=silent)
        self._task = self._progress.add_task(name, total=total, completed=min(done, total), rate="", text="")
        self._total = total
        self._losses: Mapping[str, float] = {}

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._update(text=fitted(self._losses, self._room))  # what stays on the terminal
        self._progress.stop()

    def advance(self, seen: int, losses: Mapping[str, float], rate: float) -> None:
        """So many images were seen; the step's losses, and the present speed in images/s."""
        self._losses = losses
        shown = {"completed": min(seen, self._total), "rate": f"{rate:,.0f} images/s"}
        self._update(**shown, text=fitted(losses, self._room))

    def show(self, text: str) -> None:
        """What is done in the meantime, in place of the losses."""
        self._update(text=_cut(text, self._room))

    def _update(self, **fields: Any) -> None:
        self._progress.update(self._task, **fields)
        self._progress.refresh()


class _Clock(ProgressColumn):
    """Time left, and in the end the time that all parts of the training took."""

    def __init__(self, before: float) -> None:
        self.before = before
        super().__init__(table_column=Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text(f"{_time(self.before + (task.finished_time or 0.0))} total", style="progress.elapsed")
        left = task.time_remaining
        return Text("" if left is None else f"{_time(left)} left", style="progress.remaining")


def _time(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def fitted(losses: Mapping[str, float], room: int) -> str:
    """`loss 52.31 kl 9.204` in at most `room` characters: by shorter names where need be, else the first ones and how
    many more there are. Of `loss/generator` only `generator` is shown, where that says which."""
    names = [name.rpartition("/")[2] for name in losses]
    if len(set(names)) < len(names):
        names = list(losses)
    values = [f"{value:.4g}" for value in losses.values()]
    for shown in range(len(names), 0, -1):
        more = f" +{len(names) - shown}" if shown < len(names) else ""
        for letters in range(max(SHORTEST, *map(len, names)), SHORTEST - 1, -1):
            short = [name[:letters] for name in names[:shown]]
            text = " ".join(f"{name} {value}" for name, value in zip(short, values)) + more
            if len(set(short)) == shown and len(text) <= room:
                return text
    return ""


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(room - 1, 0)] + "…"
