"""The core stays small: a reader understands the whole idea in half an hour."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import zoo_core

CORE, CONFORMANCE_SUITE = 1800, 600
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


def test_the_core_keeps_its_budget() -> None:
    """The suite of laws in `testing/` is tests that ship; it has a budget of its own."""
    root = Path(zoo_core.__file__).parent
    for folder, budget in ((root, CORE), (root / "testing", CONFORMANCE_SUITE)):
        counts = {path.name: lines_of_code(path.read_text()) for path in folder.glob("*.py")}
        assert sum(counts.values()) < budget, counts
