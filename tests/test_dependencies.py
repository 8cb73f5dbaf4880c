"""What a package imports it declares, and what it declares it imports: nothing is there by luck or out of habit."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {ROOT: ROOT / "zoo_core"} | {
    path.parent: path.parent / "src"
    for path in sorted([ROOT / "benchmarks/pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")])
}


def project(folder: Path) -> dict[str, Any]:
    return dict(tomllib.loads((folder / "pyproject.toml").read_text())["project"])


PROJECTS = {project(folder)["name"]: folder for folder in SOURCES}


def names(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def imported(folder: Path) -> set[str]:
    """Distributions of all modules that the code in a folder imports, inside functions too."""
    modules = set()
    for path in SOURCES[folder].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                modules.add(node.module.partition(".")[0])
    own = {path.name for path in SOURCES[folder].parent.rglob("zoo_*") if path.is_dir()} | {"zoo_core", "zoo_bench"}
    known = packages_distributions()
    return {normal(known.get(name, [name])[0]) for name in modules - own - sys.stdlib_module_names}


def declared(folder: Path) -> set[str]:
    """Names of a project's requirements, its extras' too, and of those of the packages of this repository it needs."""
    found = project(folder)
    own = names(found["dependencies"])
    more = names([one for group in found.get("optional-dependencies", {}).values() for one in group])
    return own | more | {name for one in own & PROJECTS.keys() for name in declared(PROJECTS[one])}


@pytest.mark.parametrize("folder", SOURCES, ids=list(PROJECTS))
def test_what_is_imported_is_declared(folder: Path) -> None:
    assert imported(folder) <= declared(folder)


@pytest.mark.parametrize("folder", SOURCES, ids=list(PROJECTS))
def test_what_is_declared_is_imported(folder: Path) -> None:
    assert names(project(folder)["dependencies"]) - PROJECTS.keys() <= imported(folder)
