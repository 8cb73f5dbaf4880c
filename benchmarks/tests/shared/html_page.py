"""A page of the HTML report as the tests read it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """What a browser would make of the page, as far as these tests ask."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text = ""
        self.lines: list[tuple[str, list[str]]] = []  # (class of the row, its cells)
        self._inside: str | None = None
        self.feed(text)
        self.close()
        self.lines = [(kind, [" ".join(cell.split()) for cell in cells]) for kind, cells in self.lines]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            (self.scripts if tag == "script" else self.styles).append("")
            self._inside = tag
        if tag == "tr":
            self.lines.append((dict(attrs).get("class") or "", []))
        if tag in ("td", "th") and self.lines:
            self.lines[-1][1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = None

    def handle_data(self, text: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += text
        elif self._inside == "style":
            self.styles[-1] += text
        else:
            self.text += text
            if self.lines and self.lines[-1][1]:
                self.lines[-1][1][-1] += text

    @property
    def data(self) -> dict[str, Any]:
        return dict(json.loads(self.scripts[0]))

    def attributes(self, name: str) -> list[str]:
        return [value or "" for _, attributes in self.tags for key, value in attributes.items() if key == name]
