"""Pages and files with places to fill in: Jinja templates that lie in the package.

What fills a place stays text: in HTML it is escaped, and a name such as `{{data}}` is not looked at a second time. A
place that nothing fills is an error.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


def html(package: str, folder: str = "") -> Environment:
    """The HTML templates in a folder of a package."""
    return _environment(package, folder, escape=True)


def text(package: str, folder: str = "") -> Environment:
    """Templates of files that are no HTML: nothing is escaped."""
    return _environment(package, folder, escape=False)


def _environment(package: str, folder: str, escape: bool) -> Environment:
    loader = FileSystemLoader(Path(str(importlib.resources.files(package))) / folder)
    return Environment(
        loader=loader,
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def whole(found: Environment, name: str) -> Markup:
    """A style or a program that lies beside the templates, as it is."""
    assert found.loader is not None
    return Markup(found.loader.get_source(found, name)[0].strip())


def embedded(value: Any) -> Markup:
    """JSON that may stand inside <script>: no `<`, so neither `</script>` nor `<!--`; NaN is refused."""
    said = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(said.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def source(content: str) -> str:
    """What a content security policy calls this very style or program."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() + "'"
