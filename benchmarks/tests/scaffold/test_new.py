"""`zoo new`: what it writes is a plugin under any name; what it cannot write leaves nothing behind."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from zoo_bench.scaffold import scaffold

import zoo_core
from zoo_core.cli import main
from zoo_core.plugins import _incompatible


def zoo(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "folder", "package", "model", "cls"),
    [
        ("x", "zoo-x", "zoo_x", "x", "X"),
        ("my-flow_2", "zoo-my-flow-2", "zoo_my_flow_2", "my_flow_2", "MyFlow2"),
        ("a" * 30, f"zoo-{'a' * 30}", f"zoo_{'a' * 30}", "a" * 30, f"A{'a' * 29}"),
    ],
)
def test_any_name_makes_a_tidy_plugin(here: Path, name: str, folder: str, package: str, model: str, cls: str) -> None:
    code, text = zoo("new", name)
    assert code == 0, text
    assert [path.name for path in here.iterdir()] == [folder]
    source = here / folder / "src" / package
    assert f"class {cls}(GenerativeModel)" in (source / f"{model}.py").read_text()
    assert f'model = "{model}"' in (source / "recipes" / f"{model}.digits.toml").read_text()
    files = [path for path in (here / folder).rglob("*") if path.is_file()]
    assert len(files) == len(list(scaffold.TEMPLATES.rglob("*.tmpl")))
    for path in files:
        assert not re.search("PACKAGE|MODEL|tmpl", str(path.relative_to(here)))
        assert "{{" not in path.read_text(), path
        assert path.stat().st_mode & 0o044, path
    for check in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *check, "."], cwd=here / folder, capture_output=True)
        assert done.returncode == 0, done.stdout.decode()


def test_it_says_what_to_do_next_and_goes_with_this_core(here: Path) -> None:
    code, text = zoo("new", "ice", "--model", "snow-flake", "--out", str(here))
    assert code == 0, text
    for words in (f'pip install -e "{here / "zoo-ice"}"', "zoo check snow_flake", "zoo train snow_flake.digits"):
        assert words in text
    assert "-e ./plugins/zoo-ice" in text
    project = tomllib.loads((here / "zoo-ice" / "pyproject.toml").read_text())["project"]
    assert project["version"] == zoo_core.__version__
    assert project["entry-points"]["zoo"] == {"ice": "zoo_ice"}
    (requirement,) = project["dependencies"]
    assert requirement.startswith("zoo-core>=")
    assert _incompatible([requirement]) is None


def test_in_a_checkout_it_joins_the_other_plugins(here: Path) -> None:
    (here / "plugins").mkdir()
    assert zoo("new", "one")[1].startswith("zoo-one is a plugin")
    (here / "requirements-dev.txt").touch()
    assert zoo("new", "two")[1].startswith("plugins/zoo-two is a plugin")
    assert (here / "zoo-one").is_dir()
    assert (here / "plugins" / "zoo-two").is_dir()


def test_the_folder_it_goes_to_is_made(here: Path) -> None:
    code, text = zoo("new", "fresh", "--out", "some/where")
    assert code == 0, text
    assert (here / "some" / "where" / "zoo-fresh" / "pyproject.toml").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "a letter first"),
        (["Zoo Gan"], "lower-case letters"),
        (["../x"], "lower-case letters"),
        (["a/b"], "lower-case letters"),
        (["x.digits"], "lower-case letters"),
        (["1x"], "a letter first"),
        (["a__b"], "single '_'"),
        (["tail_"], "single '_'"),
        (["x\n"], "lower-case letters"),
        (["schrödinger"], "lower-case letters"),
        (["a" * 31], "at most 30"),
        (["class"], "Python"),
        (["none"], "Python"),
        (["random"], "Python"),
        (["torch"], "Python"),
        (["tensor"], "try 'my_tensor'"),
        (["generative-model"], "uses it already"),
        (["f"], "uses it already"),
        (["configs"], "uses it already"),
        (["made"], "model 'made' is there already, in zoo-autoregressive"),
        (["fresh", "--model", "gmm"], "model 'gmm' is there already, in zoo-mixture"),
        (["fresh", "--model", "1x"], "'1x'"),
        (["fresh", "--model", ""], "a letter first"),
        (["mixture"], "plugin 'mixture' is there already, in zoo-mixture"),
        (["bench"], "plugin 'bench' is there already, in zoo-bench"),
        (["core"], "plugin 'core' is there already, in zoo-core"),
        (["fresh", "--out", "/proc"], "cannot write /proc/zoo-fresh"),
        ([], "Missing argument"),
    ],
    ids=repr,
)
def test_wrong_input_is_one_clear_line_and_writes_nothing(here: Path, arguments: list[str], message: str) -> None:
    code, text = zoo("new", *arguments)
    assert code in (1, 2)
    assert message in text
    assert "Traceback" not in text
    assert not list(here.iterdir())


def test_what_is_there_is_not_touched(here: Path) -> None:
    (here / "zoo-full").mkdir()
    (here / "zoo-full" / "mine.txt").write_text("mine")
    (here / "zoo-link").symlink_to("nowhere")
    (here / "zoo-file").write_text("mine")
    (here / "zoo-empty").mkdir()
    before = sorted(here.rglob("*"))
    for name in ("full", "link", "file", "empty"):
        code, text = zoo("new", name)
        assert code == 1
        assert f"zoo-{name} is there already and was not touched" in text
    assert "cannot write zoo-file/zoo-fresh: File exists" in zoo("new", "fresh", "--out", "zoo-file")[1]
    assert "Not a directory" in zoo("new", "fresh", "--out", "zoo-file/deeper")[1]
    assert sorted(here.rglob("*")) == before
    assert (here / "zoo-file").read_text() == (here / "zoo-full" / "mine.txt").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_written(here: Path) -> None:
    here.chmod(0o500)
    try:
        code, text = zoo("new", "fresh")
    finally:
        here.chmod(0o700)
    assert code == 1
    assert "Permission denied" in text


def test_a_full_disk_leaves_nothing_behind(here: Path) -> None:
    """Files that may not grow stand in for a disk that is full: some templates are written before one is refused."""
    sizes = sorted(path.stat().st_size for path in scaffold.TEMPLATES.rglob("*.tmpl"))
    limit = sizes[-2]

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-B", "-m", "zoo_core", "new", "fresh"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files, timeout=60)
    assert done.returncode == 1
    assert "cannot write zoo-fresh: File too large; nothing is left of it" in done.stderr
    assert not list(here.iterdir())


def test_it_imports_no_torch(here: Path) -> None:
    code = (
        "import sys; from click.testing import CliRunner; from zoo_core.cli import main\n"
        "result = CliRunner().invoke(main, ['new', 'fresh']); assert result.exit_code == 0, result.output\n"
        "assert not {'torch', 'pydantic'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
