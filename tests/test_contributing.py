"""CONTRIBUTING.md, walked from its first command to its last: a scaffolded family, and one written from the page alone.

Files that the page shows are written, commands are run, in order and in a folder of their own. `pip install -e` is done
by hand, without pip and its package index: the metadata that the entry points are found by, and `src` on the path.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
SCAFFOLDED, WRITTEN = "A family in an afternoon", "The same from an empty folder"

_BLOCK = re.compile(
    r"(?:^`(?P<path>plugins/[^`]+)`(?P<end>, at its end)?\n\n)?"
    r"^(?P<fence>`{3,})(?P<language>\w+)\n(?P<body>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)


def sections() -> dict[str, str]:
    """The page's second-level headings and what stands below them. (A heading of a file that it shows is `code`.)"""
    parts = re.split(r"^## (\w.*)$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def blocks(text: str) -> Iterator[re.Match[str]]:
    return _BLOCK.finditer(text)


@dataclass
class Walk:
    """A contributor: a checkout without any plugin of its own, and what the commands said."""

    folder: Path
    said: dict[str, str] = field(default_factory=dict)
    paths: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "plugins").mkdir()
        (self.folder / "requirements-dev.txt").write_text((ROOT / "requirements-dev.txt").read_text())
        self.paths.append(self.folder / "site")

    def run(self, *command: str, cwd: Path | None = None) -> str:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, self.paths))}
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=cwd or self.folder, env=env, timeout=300, check=False
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def obey(self, line: str) -> None:
        """One line of a bash block."""
        words = shlex.split(line, comments=True)
        if words[0] == "zoo":
            self.said[line] = self.run(sys.executable, "-m", "zoo_core", *words[1:])
        elif words[:3] == ["pip", "install", "-e"]:
            self.install(self.folder / words[3])
        elif words[0] == "make":
            targets = (ROOT / "Makefile").read_text()
            assert all(re.search(rf"^{word}:", targets, re.MULTILINE) for word in words[1:]), line
        else:
            assert words[0] in ("mkdir", "cp", "sha256sum"), line
            self.said[line] = self.run(*words)

    def install(self, plugin: Path) -> None:
        project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
        info = self.paths[0] / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir(parents=True)
        facts = [f"Name: {project['name']}", f"Version: {project['version']}"]
        facts += [f"Requires-Dist: {requirement}" for requirement in project["dependencies"]]
        (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *facts, ""]))
        entries = [f"{name} = {value}" for name, value in project["entry-points"]["zoo"].items()]
        (info / "entry_points.txt").write_text("\n".join(["[zoo]", *entries, ""]))
        self.paths.append(plugin / "src")

    def read(self, text: str, last: Callable[[str], bool] = lambda line: False) -> None:
        """Do what a part of the page says, up to the command that is the `last`."""
        for block in blocks(text):
            if block["path"]:
                path = self.folder / block["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                assert path.exists() == bool(block["end"]), path
                with path.open("a") as file:
                    file.write("\n\n" * bool(block["end"]) + block["body"])
            elif block["language"] == "python":
                self.publish(block["body"])
            for line in block["body"].splitlines() if block["language"] == "bash" else ():
                self.obey(line)
                if last(line):
                    return

    def publish(self, entry: str) -> None:
        """The step of the page that is an edit: an entry of published weights, with the sum just printed."""
        (digest,) = (said.split()[0] for line, said in self.said.items() if line.startswith("sha256sum"))
        path = self.folder / "plugins/zoo-tiny/src/zoo_tiny/configs.py"
        code = path.read_text()
        assert code.endswith("        ),\n    ),\n)\n")
        code = (
            code.removesuffix("    ),\n)\n")
            + f"        pretrained=({entry.strip().replace('…', digest)},),\n    ),\n)\n"
        )
        path.write_text(code.replace("ModelSpec, Paper", "ModelSpec, Paper, Pretrained"))

    def told(self, start: str) -> str:
        """What the one command that starts so printed."""
        (said,) = (said for line, said in self.said.items() if line.startswith(start))
        return said


@pytest.fixture
def walk(tmp_path: Path) -> Walk:
    return Walk(tmp_path)


def row(name: str) -> re.Pattern[str]:
    """A model's row in a table on a terminal, beside its family if there is room."""
    return re.compile(rf"^\s*{name}(?:\s+\w+)?\s+= \d\.\d{{4}} ± ", re.MULTILINE)


@pytest.mark.parametrize(("section", "name"), [(SCAFFOLDED, "tiny"), (WRITTEN, "chain")])
def test_a_new_family_is_listed_keeps_the_laws_and_trains(walk: Walk, section: str, name: str) -> None:
    walk.read(sections()[section], last=lambda line: line.startswith("zoo train"))
    assert re.search(rf"^{name} .*exact", walk.told("zoo list"), re.MULTILINE)
    assert f"{name} passes every conformance test that applies to it" in walk.told("zoo check")
    assert "weights in runs/" in walk.told("zoo train")
    plugins = json.loads(walk.run(sys.executable, "-m", "zoo_core", "plugins", "--json"))
    assert [(plugin["error"], plugin["models"]) for plugin in plugins if plugin["name"] == name] == [(None, 1)]


@pytest.mark.slow
def test_the_whole_page(walk: Walk) -> None:
    walk.read(PAGE.read_text())
    for name, folder in (("tiny", "runs/quick"), ("chain", "runs/chain-bench")):
        assert row(name).search(walk.told(f"zoo bench quick --models {name} --out"))
        assert row(name).search(walk.said[f"zoo report {folder}"])
        assert (walk.folder / folder / "cards" / f"{name}.digits.quick-v1-digits.seed0.png").exists()
    page = (walk.folder / "plugins/zoo-tiny/README.md").read_text()
    listed = r"begin results: tiny -->\n\*\*quick@1/digits\*\*: tiny\.digits.*\| bits_per_dim[^|]* \| =\s2\."
    assert re.search(listed, page, re.DOTALL)
    assert (walk.folder / "shipped.png").exists()
    assert "stripes" in walk.told("zoo train chain --data")

    changed = {path.name for path in walk.folder.iterdir()}
    assert changed == {"plugins", "requirements-dev.txt", "runs", "site", "tiny.png", "shipped.png", "chain.png"}
    assert {path.name for path in (walk.folder / "plugins").iterdir()} == {"zoo-tiny", "zoo-chain"}
    assert (walk.folder / "requirements-dev.txt").read_text() == (ROOT / "requirements-dev.txt").read_text()
    for name in ("tiny", "chain"):
        plugin = walk.folder / "plugins" / f"zoo-{name}"
        assert " passed" in walk.run(sys.executable, "-m", "pytest", "-q", "-m", "not slow", "tests", cwd=plugin)
        for block in blocks((plugin / "README.md").read_text()):  # the new page, as tests/test_readme.py would
            for line in block["body"].splitlines() if block["language"] == "bash" else ():
                walk.run(sys.executable, "-m", "zoo_core", *shlex.split(line)[1:], cwd=plugin)
            if block["language"] == "python":
                walk.run(sys.executable, "-c", block["body"], cwd=plugin)


@pytest.mark.slow
def test_both_families_and_the_templates_are_in_wheels(walk: Walk) -> None:
    """Built by pip and Hatchling, which come from the package index."""
    walk.read(sections()[SCAFFOLDED], last=lambda line: line.startswith("zoo new"))
    walk.read(sections()[WRITTEN], last=lambda line: line.startswith("pip"))
    for source in (ROOT, ROOT / "benchmarks", walk.folder / "plugins/zoo-tiny", walk.folder / "plugins/zoo-chain"):
        walk.run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", "wheels", str(source))
    names = {
        path.name.partition("-")[0]: set(zipfile.ZipFile(path).namelist())
        for path in (walk.folder / "wheels").glob("*.whl")
    }
    templates = (ROOT / "benchmarks/src/zoo_bench/scaffold/templates").rglob("*.*")
    assert {str(path.relative_to(ROOT / "benchmarks/src")) for path in templates} <= names["zoo_bench"]
    assert {"zoo_tiny/tiny.py", "zoo_tiny/recipes/tiny.digits.toml"} <= names["zoo_tiny"]
    assert {"zoo_chain/chain.py", "zoo_chain/recipes/chain.digits.toml"} <= names["zoo_chain"]


def test_the_code_of_the_page_is_tidy(walk: Walk) -> None:
    """By the settings of this repository, where it would stand."""
    for block in blocks(PAGE.read_text()):
        if block["path"]:
            path = walk.folder / block["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write("\n\n" * bool(block["end"]) + block["body"])
    for check in (["check"], ["format", "--check"]):
        walk.run(sys.executable, "-m", "ruff", *check, "--config", "pyproject.toml", str(walk.folder), cwd=ROOT)


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", PAGE.read_text())
    assert targets
    for target in targets:
        assert "://" in target or (ROOT / target).exists(), target


def test_the_page_names_every_law() -> None:
    from zoo_core.testing import LAWS

    table = set(re.findall(r"^\| (\d+) (\S+) \|", PAGE.read_text(), re.MULTILINE))
    assert {(str(law.number), law.name) for law in LAWS} - {("7", "sampled-density")} == table
