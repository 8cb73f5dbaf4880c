"""`zoo`: what it prints, what programs read, what it says to wrong input, and how quickly."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from zoo_core.cli import main


def zoo(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_list_and_show() -> None:
    code, text = zoo("list")
    assert code == 0
    for word in ("made", "autoregressive", "exact", "vae", "bound", "gmm", "density"):
        assert word in text
    entries = json.loads(zoo("list", "--json")[1])
    assert {"made", "vae", "gmm", "uniform"} <= {entry["name"] for entry in entries}
    assert "made.digits" in zoo("list", "--pretrained", "made*")[1]
    shown = json.loads(zoo("show", "made", "--json")[1])
    assert shown["config"]["hidden"]
    assert shown["pretrained"][0]["sha256"]
    assert "Germain" in zoo("show", "made")[1]


def processor_time(*arguments: str) -> float:
    """Seconds of processor time that Python takes for `arguments`, the best of three."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_listing_is_quick() -> None:
    """A fifth of what `import torch` alone takes on the same machine: about 0.3 s, against 2.6."""
    assert processor_time("-m", "zoo_core", "list") < processor_time("-c", "import torch") / 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "Did you mean list"),
        (["list", "nothing*"], "no model matches 'nothing*'"),
        (["show", "mad"], "did you mean 'made'"),
        (["sample", "made"], "is a model without weights"),
        (["sample", "made.digts"], "did you mean 'made.digits'"),
        (["sample", "made.digits", "-n", "0"], "at least 1"),
        (["sample", "made.digits", "--out", "x.jpg"], "ends in .png"),
        (["sample", "made.digits", "--set", "temperatur=2"], "did you mean 'temperature'"),
        (["sample", "made.digits", "--set", "temperature"], "expected KEY=VALUE"),
        (["sample", "made.digits", "--set", "temperature=abc"], "expected a number"),
        (["sample", "made.digits", "--set", "temperature=nan"], "expected a number behind '=', got 'nan'"),
        (["sample", "made.digits", "--set", "temperature=1e999"], "expected a number"),
        (["sample", "made.digits", "--set", "temperature=-inf"], "expected a number"),
        (["sample", "made.digits", "--set", "seed=3"], "unknown sampling option"),
        (["sample", "gmm.digits", "--set", "temperature=2"], "gmm.digits takes no sampling options"),
        (["check", "maed"], "did you mean 'made'"),
        (["evaluate", "made.digits", "--suite", "quik"], "did you mean 'quick'"),
        (["bench", "quik"], "did you mean 'quick'"),
        (["train", "made", "--data", "digtis"], "did you mean 'digits'"),
        (["report", "nowhere"], "does not exist"),
    ],
)
def test_wrong_input_is_one_clear_line(arguments: list[str], message: str) -> None:
    code, text = zoo(*arguments)
    assert code in (1, 2)
    assert message in text
    assert "Traceback" not in text


def test_sampling_writes_a_grid_and_arrays(tmp_path: Path) -> None:
    for out in ("a.npz", "b.npz", "c.npz", "grid.png"):
        seed = "1" if out == "c.npz" else "0"
        code, text = zoo("sample", "made.digits", "-n", "9", "--seed", seed, "--out", str(tmp_path / "new" / out))
        assert code == 0, text
    a, b, c = (np.load(tmp_path / "new" / f"{letter}.npz") for letter in "abc")
    assert a["images"].shape == (9, 8, 8, 1)
    assert a["images"].dtype == np.uint8
    assert a["images"].max() <= 16
    assert int(a["levels"]) == 17
    assert np.array_equal(a["images"], b["images"])
    assert not np.array_equal(a["images"], c["images"])
    picture = Image.open(tmp_path / "new" / "grid.png")
    assert picture.size == (3 * 33 + 1, 3 * 33 + 1)
    corner = np.asarray(picture)[1:33, 1:33, 0].reshape(8, 4, 8, 4)[:, 0, :, 0]
    assert np.array_equal(corner, np.round(a["images"][0, :, :, 0].astype(float) * 255 / 16))


@pytest.mark.parametrize("written", ["1e-3", "0.001", "1", "1e0"])
def test_a_sampling_option_may_be_written_as_any_number(written: str, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    code, text = zoo("sample", "made.digits", "-n", "2", "--set", f"temperature={written}", "--out", str(out))
    assert code == 0, text
    assert json.loads(str(np.load(out)["options"])) == {"temperature": float(written)}


def test_output_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, text = zoo("sample", "made.digits", "--out", str(tmp_path / "file" / "x.png"))
    assert code == 1
    assert "file" in text
    (tmp_path / "x.png").mkdir()
    assert "is a folder" in zoo("sample", "made.digits", "--out", str(tmp_path / "x.png"))[1]


def test_check_exits_by_what_it_finds() -> None:
    code, text = zoo("check", "uniform")
    assert code == 0, text
    assert "passes every conformance test that applies to it" in text
    results = json.loads(zoo("check", "uniform", "--json")[1])
    assert {result["status"] for result in results} <= {"holds", "not applicable"}


@pytest.mark.slow
@pytest.mark.parametrize("plugin", ["zoo-mixture", "zoo-autoregressive", "zoo-autoencoder"])
def test_each_plugin_works_alone(plugin: str, tmp_path: Path) -> None:
    """In an environment of its own with its declared dependencies only; torch and its like are shared, to save room."""
    root = Path(__file__).parent.parent
    plugins = _with_siblings(root / "plugins", plugin)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    shared = next(path for path in map(Path, sys.path) if (path / "torch").is_dir())
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    wheels = tmp_path / "wheels"
    for source in (root, *(root / "plugins" / name for name in plugins)):
        build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(wheels), str(source)]
        subprocess.run(build, check=True, timeout=300)
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", *map(str, wheels.glob("*.whl"))]
    subprocess.run(install, check=True, timeout=300)
    assert max(path.stat().st_size for path in wheels.glob("*.whl")) < 20 * 2**20
    allowed = _closure("zoo-core")
    for name in allowed - {path.name for path in site.iterdir()}:
        if (shared / name).exists():
            (site / name).symlink_to(shared / name)
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-m", "zoo_core", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)

    entries = json.loads(run("plugins", "--json").stdout)
    assert sorted((entry["distribution"], entry["error"]) for entry in entries) == [(name, None) for name in plugins]
    for name in json.loads(run("list", "--pretrained", "--json").stdout):
        if name["name"].endswith(".digits"):
            done = run("sample", name["name"], "-n", "4", "--out", "x.png")
            assert done.returncode == 0, done.stderr
            assert (tmp_path / "x.png").exists()


def _with_siblings(folder: Path, plugin: str) -> list[str]:
    """The plugin and those of this repository that it declares, by name."""
    declared = tomllib.loads((folder / plugin / "pyproject.toml").read_text())["project"]["dependencies"]
    named = {re.split(r"[^\w-]", text)[0] for text in declared}
    return sorted({plugin, *(name for name in named if (folder / name).is_dir())})


def _closure(name: str) -> set[str]:
    """Top-level files of everything that `name` needs, itself excepted, as they lie in site-packages."""
    from importlib import metadata

    from packaging.requirements import Requirement

    seen: set[str] = set()
    todo = [name]
    files: set[str] = set()
    while todo:
        current = todo.pop()
        try:
            distribution = metadata.distribution(current)
        except metadata.PackageNotFoundError:
            continue
        for text in distribution.requires or []:
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            if requirement.name.lower() not in seen:
                seen.add(requirement.name.lower())
                todo.append(requirement.name)
        if current != name:
            files |= {str(path).split("/")[0] for path in distribution.files or [] if not str(path).startswith("..")}
    return files
