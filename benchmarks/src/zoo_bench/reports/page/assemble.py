"""The report's page put together: one file with its style, its program, its data and its pictures, and no network.

A content security policy allows this very program and this very style, by their sha256, and pictures that are in the
page; nothing that a card says can run, and nothing is ever fetched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from zoo_bench import templates
from zoo_bench.cards.types import TRAINED_WITH, Interval
from zoo_bench.reports.page import sections
from zoo_bench.reports.page.views import COSTS, MARKS

PROGRAM = ("theme.js", "charts.js", "page.js")
_URL = re.compile(r"(https?://[^\s<>\"')\]]+)")


def assemble(places: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """The page. places: what page.html tells of; data: what the program reads."""
    found = templates.html("zoo_bench.reports", "page")
    found.filters |= {"breakable": breakable, "linked": linked, "half": half, "fixed": fixed, "grouped": grouped}
    found.globals |= {"sections": sections, "MARKS": MARKS, "COSTS": COSTS, "TRAINED_WITH": TRAINED_WITH}
    style = templates.whole(found, "style.css")
    program = Markup("\n").join(templates.whole(found, name) for name in PROGRAM)
    policy = (
        f"default-src 'none'; img-src data:; style-src {templates.source(style)}; "
        f"script-src {templates.source(program)}; base-uri 'none'; form-action 'none'"
    )
    more = {"policy": policy, "style": style, "program": program, "data": templates.embedded(data)}
    return found.get_template("page.html").render(places, **more)


def breakable(name: object) -> Markup:
    """A name that may be broken behind an underscore and before a dot."""
    return Markup(str(escape(str(name))).replace("_", "_<wbr>").replace(".", "<wbr>."))


def linked(text: str) -> Markup:
    """Text with its web addresses as links; nothing else ever becomes an address."""
    link = Markup('<a href="{0}" rel="noopener noreferrer">{0}</a>')
    parts = _URL.split(text)  # text, address, text, address, text
    return Markup("").join(link.format(part) if i % 2 else part for i, part in enumerate(parts))


def fixed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}"


def grouped(value: float) -> str:
    """With commas between thousands; small ones with two digits behind the point."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.2f}"


def half(cell: Mapping[str, Any], digits: int) -> str:
    """Half of a symmetric interval; both ends of any other one. page.js does the same."""
    return Interval(**cell["interval"]).shown(cell["value"], digits)
