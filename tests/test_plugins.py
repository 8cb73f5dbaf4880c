"""A broken plugin is shown with its reason and costs nobody else anything; one name belongs to one plugin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
from zoo_core import hookimpl
from zoo_core.specs import ModelSpec, Paper
from zoo_core.config import Config

@hookimpl
def zoo_models():
    paper = Paper(title="t", authors="a", year=2026, url="https://example.org")
    return [ModelSpec(name="{model}", family="toy", summary="a toy", target="nowhere:Nothing", config=Config(),
                      tiny=Config(), likelihood="none", paper=paper)]
"""


class Site:
    """A folder on PYTHONPATH with installed distributions: a module, METADATA and entry points each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name: str, code: str, *, entry: str | None = None, requires: str = "zoo-core>=0.1,<0.2") -> None:
        module = name.replace("-", "_")
        (self.folder / f"{module}.py").write_text(code)
        info = self.folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {requires}\n"
        )
        (info / "entry_points.txt").write_text(f"[zoo]\n{entry or module} = {module}\n")

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(self.folder), **environment}
        command = [sys.executable, "-m", "zoo_core", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)

    def plugins(self) -> dict[str, dict]:
        return {entry["name"]: entry for entry in json.loads(self.run("plugins", "--json").stdout)}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        ("raise SystemExit(3)", "SystemExit"),
        ("from zoo_core import hookimpl\n@hookimpl\ndef zoo_models():\n    raise RuntimeError('gone')", "gone"),
        ("from zoo_core import hookimpl\n@hookimpl\ndef zoo_modells():\n    return []", "zoo_modells"),
        ("from zoo_core import hookimpl\n@hookimpl\ndef zoo_models(extra):\n    return []", "extra"),
        ("from zoo_core import hookimpl\n@hookimpl\ndef zoo_models():\n    return ['made']", "returned str"),
        ("x = 1", "implements no zoo hook"),
    ],
    ids=["import-error", "exits", "raises", "misspelt", "signature", "wrong-type", "empty"],
)
def test_a_broken_plugin_is_named_and_the_others_work(site: Site, code: str, reason: str) -> None:
    site.install("zoo-broken", code)
    site.install("zoo-good", GOOD.format(model="goodie"))
    listed = site.run("list")
    assert listed.returncode == 0
    assert "goodie" in listed.stdout
    found = site.plugins()
    assert reason in found["zoo_broken"]["error"]
    assert found["zoo_good"]["error"] is None


def test_an_incompatible_plugin_is_not_loaded(site: Site) -> None:
    site.install("zoo-old", "raise RuntimeError('must not be imported')", requires="zoo-core>=7,<8")
    error = site.plugins()["zoo_old"]["error"]
    assert "needs zoo-core" in error
    assert "0.1" in error


def test_two_plugins_with_one_model_name_both_are_named(site: Site) -> None:
    site.install("zoo-one", GOOD.format(model="twin"))
    site.install("zoo-two", GOOD.format(model="twin"))
    shown = site.run("show", "twin")
    assert shown.returncode == 1
    for word in ("zoo-one", "zoo-two", "ZOO_PLUGINS="):
        assert word in shown.stderr
    assert "warning: model 'twin'" in site.run("list").stderr
    assert site.run("show", "twin", ZOO_PLUGINS="zoo_two").returncode == 0


def test_two_distributions_with_one_entry_point(site: Site) -> None:
    site.install("zoo-one", GOOD.format(model="first"), entry="same")
    site.install("zoo-two", GOOD.format(model="second"), entry="same")
    errors = [entry["error"] for entry in json.loads(site.run("plugins", "--json").stdout) if entry["name"] == "same"]
    assert len(errors) == 2
    assert all("claimed by zoo-one and zoo-two" in error for error in errors)


def test_a_plugin_cannot_take_over_a_command(site: Site) -> None:
    code = (
        "from zoo_core import hookimpl\n@hookimpl\ndef zoo_commands(cli):\n"
        "    @cli.command('list')\n    def other():\n        print('mine now')\n"
        "    @cli.command('fresh')\n    def fresh():\n        print('new')\n"
    )
    site.install("zoo-greedy", code)
    assert "new" in site.run("fresh").stdout
    listed = site.run("list")
    assert "mine now" not in listed.stdout
    assert "command 'list' is already there" in site.run("fresh").stderr + site.run("--help").stderr


def test_other_forms_of_requirement_are_read_too(site: Site) -> None:
    site.install("zoo-exact", GOOD.format(model="goodie"), requires="zoo-core (!=0.1.0)")
    assert "needs zoo-core" in site.plugins()["zoo_exact"]["error"]


def test_zoo_plugins_restricts_and_refuses_unknown_names(site: Site) -> None:
    site.install("zoo-good", GOOD.format(model="goodie"))
    names = {entry["name"] for entry in json.loads(site.run("plugins", "--json", ZOO_PLUGINS="zoo_good").stdout)}
    assert "zoo_good" in names
    assert names <= {"zoo_good", "bench"}
    wrong = site.run("list", ZOO_PLUGINS="zoo_godo")
    assert wrong.returncode == 1
    assert "did you mean 'zoo_good'" in wrong.stderr


def test_an_unknown_model_points_at_broken_plugins(site: Site) -> None:
    site.install("zoo-broken", "import nothing_of_this_name")
    shown = site.run("show", "goodie")
    assert shown.returncode == 1
    assert "zoo_broken" in shown.stderr
    assert "zoo plugins" in shown.stderr


LISTING = """
from click.testing import CliRunner
from zoo_core.cli import main
helps = [[name, "--help"] for name in main.list_commands(None)]
assert ["train", "--help"] in helps
for command in (["list"], ["plugins"], ["show", "made"], ["--help"], *helps):
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
"""
SPECS = """
from zoo_core import registry
for offered in (registry.models, registry.datasets, registry.extractors, registry.metrics):
    assert offered.all()
parts = {f"zoo_bench.{part}.specs" for part in ("baselines", "datasets", "features", "metrics")}
assert {*parts, "zoo_mixture"} <= sys.modules.keys()
"""


@pytest.mark.parametrize("code", [LISTING, SPECS], ids=["listing", "specs"])
def test_what_is_on_offer_is_told_without_torch(code: str) -> None:
    heavy = ("torch", "numpy", "pydantic", "pydantic_core", "accelerate", "sklearn", "rich", "matplotlib")
    code = f"import sys\n{code}\nassert not (heavy := set({heavy}) & sys.modules.keys()), heavy"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
