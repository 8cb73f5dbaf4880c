"""Modules of the core import in one direction, whatever the import stands in: a function, or `if TYPE_CHECKING`."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import zoo_core

ROOT = Path(zoo_core.__file__).parent


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text()) for path in ROOT.rglob("*.py")}


def imports(tree: ast.AST) -> set[str]:
    """The modules that are imported anywhere in one; `from zoo_core import weights` is of `zoo_core.weights`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return found


GRAPH = {name: imports(tree) & MODULES.keys() for name, tree in MODULES.items()}


def test_no_module_imports_itself_through_others() -> None:
    graphlib.TopologicalSorter(GRAPH).prepare()  # an error that shows the circle, if there is one


def test_modules_ask_each_other_and_not_the_package() -> None:
    assert [name for name, found in GRAPH.items() if "zoo_core" in found] == []


def test_only_the_command_line_knows_of_commands() -> None:
    above = ("zoo_core.cli", "zoo_core.commands")
    for name, found in GRAPH.items():
        if not name.startswith(above):
            assert not [other for other in found if other.startswith("zoo_core.commands")], name
