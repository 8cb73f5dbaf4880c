"""Files of samples: what they hold, and that a big draw survives interruption, a full disk and another request."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import zoo_core
from zoo_core import registry, sampling
from zoo_core.cli import main
from zoo_core.commands import sample_files
from zoo_core.errors import ZooError

WEIGHTS = registry.find_pretrained(zoo_core.spec("made"), "digits").sha256


def zoo(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def request(n: int = 950, **changes: Any) -> dict[str, Any]:
    return {"model": "made.digits", "n": n, "seed": 0, "chunk": 100, "options": {}, **changes}


@pytest.fixture(scope="module")
def model() -> zoo_core.GenerativeModel:
    return zoo_core.load("made.digits")


def silent(images: int) -> None:
    pass


def stop_after(count: int) -> Callable[[int], None]:
    """A progress that is Ctrl-C when so many images are drawn; their last chunk isn't written then."""
    drawn: list[int] = []

    def stop(images: int) -> None:
        drawn.append(images)
        if sum(drawn) >= count:
            raise KeyboardInterrupt

    return stop


def test_arrays_hold_the_images_of_draw_and_where_they_are_from(model: Any, tmp_path: Path) -> None:
    x = sampling.draw(model, 250, seed=3, temperature=0.9)
    sha256 = hashlib.sha256(x.numpy().tobytes()).hexdigest()
    expected = {"model": "made.digits", "weights": WEIGHTS, "n": 250, "seed": 3, "chunk": 100, "levels": 17}
    for name in ("x.npz", "x.npy"):
        out = tmp_path / name
        code, text = zoo("sample", "made.digits", "-n", 250, "--seed", 3, "--set", "temperature=0.9", "--out", out)
        assert code == 0, text
        assert "250 images" in text
        assert not sample_files.shards(out).exists()
        loaded = np.load(out)
        array = loaded["images"] if name == "x.npz" else loaded
        held = loaded if name == "x.npz" else json.loads((tmp_path / "x.npy.json").read_text())
        assert array.dtype == np.uint8
        assert array.shape == (250, 8, 8, 1)
        assert np.array_equal(array.transpose(0, 3, 1, 2), x.numpy())
        assert {key: np.asarray(held[key]).item() for key in expected} == expected
        assert str(held["sha256"]) == sha256
        assert json.loads(str(held["options"])) == {"temperature": 0.9}
    assert {path.name for path in tmp_path.iterdir()} == {"x.npz", "x.npy", "x.npy.json"}


def test_an_interrupted_draw_goes_on_and_ends_with_the_same_bytes(model: Any, tmp_path: Path) -> None:
    stopped, straight = tmp_path / "a.npz", tmp_path / "b.npz"
    with pytest.raises(KeyboardInterrupt):
        sample_files.draw_to(stopped, model, request(), stop_after(400))
    assert not stopped.exists()
    shards = {path.name: path.stat().st_mtime_ns for path in sample_files.shards(stopped).glob("*.npy")}
    assert len(shards) == 3  # the fourth was drawn, not yet written
    next(sample_files.shards(stopped).glob("000001.*")).unlink()
    again: list[int] = []
    sample_files.draw_to(stopped, model, request(), again.append)
    assert again[0] == 200  # are there
    assert sum(again) == 950
    assert len(again) == 1 + 8  # chunk 1, chunks 3 to 9
    sample_files.draw_to(straight, model, request(), silent)
    assert stopped.read_bytes() == straight.read_bytes()
    assert not sample_files.shards(stopped).exists()


def shorten(shard: Path) -> None:
    """A whole .npy file, of fewer images."""
    x = np.load(shard)
    np.save(shard, x[:40])


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "zeroed": lambda shard: shard.write_bytes(bytes(shard.stat().st_size)),
    "black": lambda shard: np.save(shard, np.zeros_like(np.load(shard))),
    "short": shorten,
    "cut": lambda shard: os.truncate(shard, 1000),
    "empty": lambda shard: os.truncate(shard, 0),
    "renamed": lambda shard: shard.rename(shard.with_name(f"{shard.name[:6]}.{'0' * 16}.npy")),
    "of an earlier zoo": lambda shard: shard.rename(shard.with_name(f"{shard.name[:6]}.npy")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_chunk_is_drawn_again_and_only_that(model: Any, tmp_path: Path, damage: str) -> None:
    stopped, straight = tmp_path / "a.npz", tmp_path / "b.npz"
    with pytest.raises(KeyboardInterrupt):
        sample_files.draw_to(stopped, model, request(), stop_after(400))
    shards = sorted(sample_files.shards(stopped).glob("[0-9]*.npy"))
    assert len(shards) == 3
    for shard in shards:
        sha256 = hashlib.sha256(shard.read_bytes()).hexdigest()
        assert shard.name.split(".")[1:] == [sha256[:16], "npy"]
    DAMAGES[damage](shards[1])
    drawn: list[int] = []
    sample_files.draw_to(stopped, model, request(), drawn.append)
    assert drawn == [200, *[100] * 7, 50]  # two are there; chunk 1 and chunks 3 to 9 are drawn
    sample_files.draw_to(straight, model, request(), silent)
    assert stopped.read_bytes() == straight.read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.npz", "b.npz"]


def test_a_chunk_damaged_while_others_are_drawn_is_drawn_again(model: Any, tmp_path: Path) -> None:
    out, straight = tmp_path / "a.npz", tmp_path / "b.npz"
    drawn: list[int] = []

    def damage(images: int) -> None:
        drawn.append(images)
        if sum(drawn) == 950:
            DAMAGES["short"](next(sample_files.shards(out).glob("000002.*")))

    sample_files.draw_to(out, model, request(), damage)
    assert drawn == [0, *[100] * 9, 50, 100]
    sample_files.draw_to(straight, model, request(), silent)
    assert out.read_bytes() == straight.read_bytes()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"3", b"null"])
def test_a_broken_request_is_said_and_no_chunk_is_lost(model: Any, tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "x.npz"
    with pytest.raises(KeyboardInterrupt):
        sample_files.draw_to(out, model, request(), stop_after(400))
    folder = sample_files.shards(out)
    there = sorted(folder.iterdir())
    whole = (folder / "request.json").read_bytes()
    (folder / "request.json").write_bytes(content)
    with pytest.raises(ZooError, match=r"request\.json is no JSON object .*; remove .*shards, or choose another --out"):
        sample_files.draw_to(out, model, request(), silent)
    assert sorted(folder.iterdir()) == there
    (folder / "request.json").write_bytes(whole)
    drawn: list[int] = []
    sample_files.draw_to(out, model, request(), drawn.append)
    assert drawn[0] == 300


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"n": 900}, "n is 950 there and 900 here"),
        ({"weights": "other"}, "weights is None there and 'other' here"),
        ({"options": {"temperature": 0.5}}, "options is {} there and {'temperature': 0.5} here"),
        ({"labels": [3]}, "labels is None there and [3] here"),
    ],
)
def test_chunks_of_another_request_are_refused(model: Any, tmp_path: Path, change: dict[str, Any], named: str) -> None:
    folder = sample_files.shards(tmp_path / "x.npz")
    folder.mkdir()
    (folder / "request.json").write_text(json.dumps(request()))
    with pytest.raises(ZooError) as error:
        sample_files.draw_to(tmp_path / "x.npz", model, request(**change), silent)
    assert named in str(error.value)
    assert [path.name for path in folder.iterdir()] == ["request.json"]


def test_what_was_asked_for_then_and_not_now_is_named(model: Any, tmp_path: Path) -> None:
    folder = sample_files.shards(tmp_path / "x.npz")
    folder.mkdir()
    (folder / "request.json").write_text(json.dumps(request(labels=[1])))
    with pytest.raises(ZooError, match=r"labels is \[1\] there and None here"):
        sample_files.draw_to(tmp_path / "x.npz", model, request(), silent)


def test_a_folder_of_somebody_else_is_left_alone(model: Any, tmp_path: Path) -> None:
    folder = sample_files.shards(tmp_path / "x.npz")
    folder.mkdir()
    (folder / "diary.txt").write_text("mine")
    with pytest.raises(ZooError, match="another request"):
        sample_files.draw_to(tmp_path / "x.npz", model, request(), silent)
    assert [path.name for path in folder.iterdir()] == ["diary.txt"]


def test_replacing_a_file_is_said(tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    assert "replaced" not in zoo("sample", "made.digits", "-n", 3, "--out", out)[1]
    assert "replaced" in zoo("sample", "made.digits", "-n", 4, "--out", out)[1]
    assert len(np.load(out)["images"]) == 4


def test_conditions_are_written_for_each_image(tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    code, text = zoo("sample", "ddpm.digits_cond", "-n", 5, "--label", 3, "--label", 1, "--out", out)
    assert code == 0, text
    assert np.load(out)["labels"].tolist() == [3, 1, 3, 1, 3]


@pytest.mark.parametrize("seed", [10**23, -(10**23), 2**64, -(2**63) - 1])
@pytest.mark.parametrize("name", ["x.npz", "x.npy", "x.png"])
def test_a_seed_of_more_than_64_bits_is_refused_before_any_work(tmp_path: Path, seed: int, name: str) -> None:
    code, text = zoo("sample", "made.digits", "-n", 3, "--seed", seed, "--out", tmp_path / "new" / name)
    assert code != 0
    assert f"'--seed': {seed} is not in the range {-(2**63)}<=x<={2**64 - 1}" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", [2**64 - 1, -(2**63)])
def test_every_seed_of_64_bits_is_written(tmp_path: Path, seed: int) -> None:
    out = tmp_path / "x.npz"
    code, text = zoo("sample", "made.digits", "-n", 3, "--seed", seed, "--out", out)
    assert code == 0, text
    assert int(np.load(out)["seed"]) == seed


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from zoo_core.cli import main
main()
"""


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    """No file may grow beyond 20 kB: the chunks fit, the file that they make doesn't."""
    arguments = ["sample", "made.digits", "-n", "950", "--out", "x.npz"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 1
    assert "Error: x.npz: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz.shards"]
    assert len(list((tmp_path / "x.npz.shards").iterdir())) == 11
    code, text = zoo("sample", "made.digits", "-n", 950, "--out", tmp_path / "x.npz")
    assert code == 0, text
    assert torch.equal(
        torch.from_numpy(np.load(tmp_path / "x.npz")["images"]).permute(0, 3, 1, 2),
        sampling.draw(zoo_core.load("made.digits"), 950),
    )


def _may_be_interrupted() -> None:
    """As in a terminal: where the tests run in a shell's background, Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_a_killed_command_goes_on(tmp_path: Path) -> None:
    """Ctrl-C, then kill -9, in the middle of 20,000 images; the third run finishes with an undisturbed run's bytes."""
    arguments = ["sample", "made.digits", "-n", "20000", "--out", "x.npz"]
    command = [sys.executable, "-m", "zoo_core", *arguments]
    folder = tmp_path / "x.npz.shards"
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    there = 0
    for number in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(
            command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=env, preexec_fn=_may_be_interrupted
        )
        deadline = time.monotonic() + 60
        while len(list(folder.glob("[0-9]*.npy"))) < there + 20:
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        if number == signal.SIGINT:
            assert process.returncode == 130
            assert "stopped; the same command continues" in said
        there = len(list(folder.glob("[0-9]*.npy")))
        assert 20 <= there < 200
        assert not (tmp_path / "x.npz").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("[0-9]*.npy")}
    assert kept
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, env=env, timeout=120)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
    subprocess.run([*command[:-1], "y.npz"], cwd=tmp_path, check=True, capture_output=True, env=env, timeout=120)
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "y.npz").read_bytes()
