"""Rows of Markdown tables, in which whatever a card says stays text: no column, tag, link or emphasis comes of it."""

from __future__ import annotations

import re
from collections.abc import Iterable


def row(cells: Iterable[object]) -> str:
    """`| a | b |`, each cell escaped."""
    return "| " + " | ".join(map(escaped, cells)) + " |"


def escaped(text: object) -> str:
    """One line that a reader of Markdown sees as `text`; white space and line breaks become single spaces."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\|`*~$]|(?<![^\W_])_|_(?![^\W_])|(?<=\])\(", r"\\\g<0>", line)
