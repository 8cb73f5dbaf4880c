"""The errors a user meets: each names what was given, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(ValueError):
    """Bad input of any kind. The `zoo` command prints its message without a traceback."""


class UnknownName(ZooError, LookupError):
    """A name that nothing answers to; the message lists the nearest names that exist."""


class WeightsError(ZooError):
    """Weights that are missing, truncated, tampered with, or made for something else."""


class Diverged(ZooError, ArithmeticError):
    """A training whose numbers are no longer finite."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'made'?"`, or the list of what exists when nothing is near."""
    known = sorted(set(known))
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return "; did you mean " + " or ".join(repr(word) for word in near) + "?"
    return "; there is " + (", ".join(known) if known else "nothing installed")


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UnknownName:
    """The error for a `kind` of thing (model, data set, suite, ...) that is called `name` by nobody."""
    return UnknownName(f"unknown {kind} {name!r}{did_you_mean(name, known)}{hint}")
