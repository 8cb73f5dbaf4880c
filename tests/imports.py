"""Hold the contracts of `[tool.importlinter]` in pyproject.toml for every package of this repository: `make lint`.

Families are found in plugins/, so that a new one is held to the same rules without being named anywhere.
"""

from __future__ import annotations

import configparser
import graphlib
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def families() -> list[str]:
    """The packages in plugins/, by their import names."""
    return sorted(path.parent.name for path in ROOT.glob("plugins/*/src/*/__init__.py"))


def contracts() -> configparser.ConfigParser:
    """pyproject's contracts with the names of all packages, in the form that import-linter reads."""
    written = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    every = ["zoo_core", "zoo_bench", *families()]

    def text(value: object) -> str:
        if not isinstance(value, list):
            return str(value)
        found = [name for item in value for name in (every if item == "<all>" else [item])]
        return "\n" + "\n".join(" : ".join(families()) if name == "<families>" else name for name in found)

    parser = configparser.ConfigParser(interpolation=None)
    parser["importlinter"] = {key: text(value) for key, value in written.items() if key != "contracts"}
    for number, contract in enumerate(written["contracts"]):
        parser[f"importlinter:contract:{number}"] = {key: text(value) for key, value in contract.items()}
    return parser


def cycle() -> list[str]:
    """Modules that import each other in a circle, types and imports inside of functions included; [] where none do."""
    import grimp

    graph = grimp.build_graph("zoo_core", "zoo_bench", *families(), cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def main() -> int:
    from importlinter.cli import lint_imports

    if found := cycle():
        print("modules import each other in a circle:", " -> ".join(found))
        return 1

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "contracts.ini")
        with file.open("w", encoding="utf-8") as opened:
            contracts().write(opened)
        return lint_imports(str(file), no_cache=True, no_logo=True)


if __name__ == "__main__":
    sys.exit(main())
