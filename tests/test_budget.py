"""The core stays small: a reader understands the whole idea in half an hour."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

import zoo_core

BUDGETS = {"commands": 700, "testing": 600, "": 1500}  # folders of zoo_core; "" is whatever is in no other
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}


def lines_of_code(source: str) -> int:
    """Lines that hold code: neither blank, nor comment, nor part of a docstring."""
    documentation: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                documentation |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE and token.type != tokenize.ENDMARKER:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - documentation)


def test_counting_lines_of_code() -> None:
    docstrings = '"""Doc."""\n\ndef f():\n    """More\n    doc."""\n'
    code = "# comment\n    import os  # why\n    return os.sep.join(\n        [],\n    )\n"
    source = docstrings + "    " + code
    assert lines_of_code(source) == 5


@pytest.mark.parametrize("folder", BUDGETS)
def test_the_core_keeps_its_budgets(folder: str) -> None:
    """Commands are not needed to understand the protocol, and the laws in `testing/` are tests that ship."""
    root = Path(zoo_core.__file__).parent
    counts = {}
    for path in root.rglob("*.py"):
        first = path.relative_to(root).parts[0]
        if folder == (first if first in BUDGETS else ""):
            counts[str(path.relative_to(root))] = lines_of_code(path.read_text())
    assert 0 < sum(counts.values()) < BUDGETS[folder], counts
