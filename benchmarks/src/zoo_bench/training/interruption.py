"""Ctrl-C while training: a step is finished first; what changes nothing is given up in the middle."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Interrupted(KeyboardInterrupt):
    """A training that was stopped by Ctrl-C; its message says how to go on."""


class _GivenUp(BaseException):
    """Raised by a signal inside of `attempt`, and caught there."""


class Interruption:
    """Ctrl-C (and SIGTERM) sets `stop`, which the loop looks at after each step; a second Ctrl-C stops at once."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self._alarm = False  # whether a clock may ring in this thread
        self._attempting = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hears signals in the block, if it is run by the main thread: no other thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {signal.SIGINT: self._asked, signal.SIGTERM: self._asked}
        self._alarm = hasattr(signal, "SIGALRM") and not signal.getitimer(signal.ITIMER_REAL)[0]  # else another's clock
        if self._alarm:
            handlers[signal.SIGALRM] = self._give_up
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            if self._alarm:
                signal.setitimer(signal.ITIMER_REAL, 0)
            self._alarm = False
            for number, handler in before.items():
                signal.signal(number, handler)

    def attempt(self, work: Callable[[], T], seconds: float) -> T | None:
        """`work()`; None if Ctrl-C came, or so many seconds went by, before it was done.

        It may be broken off between any two instructions, so whatever it touches must not be used afterwards. Outside
        of the main thread, and on Windows, time alone does not end it.
        """
        try:
            try:
                self._attempting = True
                if self.stop.is_set() or seconds <= 0:
                    return None
                if self._alarm:
                    signal.setitimer(signal.ITIMER_REAL, seconds)
                return work()
            finally:
                self._attempting = False
                if self._alarm:
                    signal.setitimer(signal.ITIMER_REAL, 0)
        except _GivenUp:
            return None

    def _asked(self, number: int, frame: Any) -> None:
        if self.stop.is_set():
            raise KeyboardInterrupt
        self.stop.set()
        self._give_up(number, frame)

    def _give_up(self, number: int, frame: Any) -> None:
        if self._attempting:
            self._attempting = False
            raise _GivenUp
