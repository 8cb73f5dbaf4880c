"""A checkpoint that isn't what was written is noticed, wherever it is damaged, and the one before takes its place."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from zoo_bench import train
from zoo_bench.training import checkpoint, sealed
from zoo_bench.training.checkpoint import RunFolder
from zoo_bench.training.recipe import plan
from zoo_bench.training.trainer import Interrupted, Options, Trainer

from zoo_core import ZooError

Recipes = Callable[..., Path]


def content(seen: int) -> dict[str, object]:
    model = {"weight": torch.arange(1000.0) + seen}
    return {"model": model, "step": {"index": seen}, "average": None, "seen": seen, "seconds": 1.0}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Of two checkpoints, after 1 and 2 images."""
    folder = RunFolder(tmp_path / "run")
    for seen in (1, 2):
        folder.save_checkpoint(content(seen))
    return folder


def flip(file: Path, bit: int) -> None:
    damaged = bytearray(file.read_bytes())
    damaged[bit // 8] ^= 1 << bit % 8
    file.write_bytes(damaged)


def seen(folder: RunFolder) -> tuple[int, list[str]]:
    """How far the checkpoint is that a run would go on from, and what is said of it."""
    said: list[str] = []
    assert folder.find_checkpoint(said.append)
    return folder.load_checkpoint()["seen"], said


def test_a_checkpoint_is_read_by_torch_and_is_followed_by_the_one_before(folder: RunFolder) -> None:
    assert torch.load(folder.checkpoint, weights_only=True)["seen"] == 2
    assert torch.load(folder.previous, weights_only=True)["seen"] == 1
    assert seen(folder) == (2, [])


def test_every_flipped_bit_is_noticed(folder: RunFolder) -> None:
    """Two hundred anywhere, and each of the last hundred bytes: the zip's last record, its comment, the digest."""
    bits = folder.checkpoint.stat().st_size * 8
    generator = random.Random(0)
    for bit in [generator.randrange(bits) for _ in range(200)] + list(range(bits - 800, bits)):
        flip(folder.checkpoint, bit)
        assert sealed.state(folder.checkpoint) == "damaged"
        flip(folder.checkpoint, bit)
    assert sealed.state(folder.checkpoint) == "sound"


def test_every_cut_is_noticed(folder: RunFolder) -> None:
    whole = folder.checkpoint.read_bytes()
    lengths = [random.Random(1).randrange(len(whole)) for _ in range(50)]
    for length in [0, 1, *lengths, *range(len(whole) - 100, len(whole))]:
        folder.checkpoint.write_bytes(whole[:length])
        assert sealed.state(folder.checkpoint) == "damaged"
    folder.checkpoint.write_bytes(whole + b"\0")
    assert sealed.state(folder.checkpoint) == "damaged"


def test_a_damaged_checkpoint_gives_way_to_the_one_before(folder: RunFolder) -> None:
    flip(folder.checkpoint, 12_345)
    images, said = seen(folder)
    assert images == 1
    (line,) = said
    assert f"{folder.checkpoint} is damaged" in line
    assert "continuing from the one before" in line
    folder.save_checkpoint(content(3))  # the damaged one doesn't become the one before
    flip(folder.checkpoint, 12_345)
    assert seen(folder)[0] == 1


def test_two_damaged_checkpoints_are_an_error_that_says_what_to_do(folder: RunFolder) -> None:
    for file in (folder.checkpoint, folder.previous):
        flip(file, 999)
    with pytest.raises(ZooError, match=r"checkpoint\.pt and .*checkpoint\.previous\.pt: damaged .* --overwrite"):
        folder.find_checkpoint(print)


def test_a_checkpoint_from_before_digests_is_read_and_that_is_said(folder: RunFolder) -> None:
    torch.save(content(5), folder.checkpoint)
    images, said = seen(folder)
    assert images == 5
    assert "whether it is damaged cannot be told" in said[0]
    buffer = io.BytesIO()
    torch.save(content(5), buffer)
    folder.checkpoint.write_bytes(buffer.getvalue()[:-100])
    assert seen(folder)[0] == 1


def test_what_does_not_come_back_from_the_disk_replaces_nothing(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint.sealed, "seal", lambda buffer: buffer.write(b"something else"))
    with pytest.raises(ZooError, match="what was written is not what is read"):
        folder.save_checkpoint(content(3))
    assert seen(folder) == (2, [])
    assert torch.load(folder.previous, weights_only=True)["seen"] == 1
    assert len(list(folder.path.iterdir())) == 2


# The parent has imported everything, so each child that it forks writes at once, checkpoint after checkpoint.
KILL = """
import os, random, signal, sys, time, torch
from zoo_bench.training.checkpoint import RunFolder
torch.set_num_threads(1)
folder, moments = RunFolder(sys.argv[1]), random.Random(0)
for kill in range(20):
    heard, told = os.pipe()
    child = os.fork()
    if not child:
        for seen in range(3, 10**9):
            model = {"weight": torch.full((100_000,), float(seen))}
            folder.save_checkpoint({"model": model, "step": {}, "average": None, "seen": seen, "seconds": 1.0})
            os.write(told, bytes([min(seen, 255)]))
    last = os.read(heard, 1)[0]
    time.sleep(moments.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(told)
    while more := os.read(heard, 1000):
        last = more[-1]
    assert folder.find_checkpoint(sys.exit)
    seen = folder.load_checkpoint()["seen"]
    assert seen in (last, last + 1), (seen, last)
    print(seen)
"""


def test_killed_while_it_writes_the_last_is_sound(folder: RunFolder) -> None:
    """The last one of which was heard, or one more."""
    done = subprocess.run([sys.executable, "-c", KILL, str(folder.path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 20
    assert len(list(folder.path.glob(".*"))) > 0  # some were killed in the middle of a file


def test_killed_between_the_renames_the_one_before_is_found(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each of the two: the last becomes the one before, the new one becomes the last."""

    class Killed(BaseException):
        pass

    replace, left = Path.replace, [0]

    def killed(self: Path, target: Path) -> Path:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return replace(self, target)

    for survived in (0, 1):
        left[0] = survived
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Path, "replace", killed)
            folder.save_checkpoint(content(9))
        assert seen(folder) == (2, [])


def test_a_run_that_goes_on_from_the_one_before_is_the_same_run(
    recipe: Recipes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of `train`: the last checkpoint is damaged, then both."""
    file = recipe()
    whole = train(file, out=tmp_path / "whole", quiet=True, grids=0)
    assert not RunFolder(tmp_path / "whole").previous.exists()  # finished: nothing can be lost any more
    options = Options(out=tmp_path / "run", quiet=True, grids=0, checkpoint_seconds=0.0)
    trainer = Trainer(plan(file), options)
    run = trainer.step.run

    def run_then_stop(*arguments, **named):
        if trainer.step.index == 20:
            trainer.options.stop.set()
        return run(*arguments, **named)

    trainer.step.run = run_then_stop
    with pytest.raises(Interrupted):
        trainer.run()
    folder = RunFolder(tmp_path / "run")
    flip(folder.checkpoint, 50_000)
    resumed = train(file, out=tmp_path / "run", quiet=True, grids=0, resume=True)
    assert "is damaged" in " ".join(capsys.readouterr().err.split())
    for weights in ("weights", "weights_raw"):
        one, two = (load_file(run.folder / weights / "model.safetensors") for run in (whole, resumed))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_with_nothing_but_damaged_checkpoints_is_refused(recipe: Recipes, tmp_path: Path) -> None:
    file = recipe()
    options = Options(out=tmp_path / "run", quiet=True, grids=0)
    options.stop.set()
    with pytest.raises(Interrupted):
        Trainer(plan(file), options).run()
    flip(tmp_path / "run" / "checkpoint.pt", 50_000)
    with pytest.raises(ZooError, match="start again with --overwrite"):
        train(file, out=tmp_path / "run", quiet=True, resume=True)
    assert train(file, out=tmp_path / "run", quiet=True, overwrite=True, grids=0).images == 2_000
