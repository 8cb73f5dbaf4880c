"""The report's page put together: one file with its style, its program, its data and its pictures, and no network.

A content security policy allows this very program and this very style, by their sha256, and pictures that are in the
page; nothing that a card says can run, and nothing is ever fetched.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
import re
from collections.abc import Mapping
from typing import Any

PROGRAM = ("theme.js", "charts.js", "page.js")


def assemble(sections: Mapping[str, str], data: Mapping[str, Any]) -> str:
    """The page. sections: HTML for the places `{{name}}` of template.html; data: what the program reads."""
    style, program = _read("style.css"), "".join(_read(name) for name in PROGRAM)
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(program)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    places = {**sections, "policy": policy, "style": style, "program": program, "data": embedded(data)}
    # In one pass: a model that is called {{data}} stays a name.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: places[match[1]], _read("template.html"))


def embedded(value: Any) -> str:
    """JSON that may stand inside <script>: no `<`, so neither `</script>` nor `<!--`; NaN is refused."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _read(name: str) -> str:
    return (importlib.resources.files(__package__) / name).read_text(encoding="utf-8").strip()
