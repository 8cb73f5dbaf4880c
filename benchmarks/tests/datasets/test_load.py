"""Data sets are the published ones or an error says what is wrong; binarisation is redrawn or pinned as promised."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from zoo_bench.datasets import idx
from zoo_bench.datasets import load as data

from zoo_core import ZooError, registry

needs_mnist = pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="set ZOO_DATA to a folder with MNIST's IDX files")


def write_idx(path: Path, array: np.ndarray) -> None:
    magic = 0x800 | array.ndim
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(magic.to_bytes(4, "big") + sizes + array.tobytes()))


def test_digits_are_split_as_pinned() -> None:
    sizes = {split: len(data.load("digits", split)) for split in ("train", "validation", "test")}
    assert sizes == {"train": 1297, "validation": 200, "test": 300}
    train = data.load("digits", "train")
    assert train.pinned.x.max() == 16
    assert train.pinned.labels.bincount().min() > 100
    together = torch.cat([data.load("digits", split).pinned.x for split in sizes])
    assert len(together.flatten(1).unique(dim=0)) > 1790  # the splits share no images but the few that are equal


def test_every_split_is_pinned_by_a_hash() -> None:
    unseen = {"cifar10", "mnist_bin_static"}  # zoo has not had their files yet
    for spec in registry.datasets.all():
        assert set(spec.splits) == {"train", "validation", "test"}
        assert all(len(value) == (0 if spec.name in unseen else 64) for value in spec.splits.values()), spec.name


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(ZooError, match="did you mean 'digits'"):
        data.load("digts")
    with pytest.raises(ZooError, match="no split 'valid'; did you mean 'validation'"):
        data.load("digits", "valid")
    with pytest.raises(ZooError, match=r"does not exist \(from --data-dir or ZOO_DATA\)"):
        data.load("mnist", "train", Path("no") / "such" / "folder")


def test_batches_see_every_image_once_before_any_twice() -> None:
    stream = data.batches(10, 4, seed=3)
    rows = torch.cat([next(stream) for _ in range(5)])
    assert sorted(rows[:10].tolist()) == list(range(10))
    assert sorted(rows[10:].tolist()) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()


def test_batches_can_start_anywhere() -> None:
    whole = data.batches(7, 5, seed=0)
    ahead = [next(whole) for _ in range(9)]
    late = data.batches(7, 5, seed=0, start=6)
    for expected in ahead[6:]:
        assert torch.equal(next(late), expected)
    assert not torch.equal(ahead[0], next(data.batches(7, 5, seed=1)))


def test_a_batch_may_be_larger_than_the_set() -> None:
    assert next(data.batches(3, 10, seed=0)).bincount().tolist() in ([4, 3, 3], [3, 4, 3], [3, 3, 4])


@needs_mnist
def test_binarised_training_images_are_redrawn_and_test_images_are_not() -> None:
    train = data.load("mnist_bin", "train")
    rows = torch.arange(200)
    first, second = train.draw(rows, seed=1), train.draw(rows, seed=2)
    assert torch.equal(first.x, train.draw(rows, seed=1).x)
    differ = (first.x != second.x).float().mean()
    grey = train.pixels[rows].float() / 255
    assert differ.item() == pytest.approx((2 * grey * (1 - grey)).mean().item(), abs=0.003)
    assert first.x.float().mean().item() == pytest.approx(grey.mean().item(), abs=0.003)
    assert set(first.x.unique().tolist()) == {0, 1}
    assert torch.equal(data.load("mnist_bin", "test").pinned.x, data.load("mnist_bin", "test").pinned.x)


@needs_mnist
def test_validation_is_the_end_of_the_training_file() -> None:
    train, validation = data.load("mnist", "train"), data.load("mnist", "validation")
    assert len(train) == 50_000
    assert len(validation) == 10_000
    raw = idx.parse(
        gzip.decompress(idx.find("mnist", "train-labels-idx1-ubyte", Path(os.environ["ZOO_DATA"])).read_bytes()),
        Path("x"),
        "labels",
    )
    assert np.array_equal(validation.pinned.labels.numpy(), raw[-10_000:])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x0d\x03" + bytes(12), "not an IDX file of bytes"),
        (b"\x00\x00\x08\x01" + (3).to_bytes(4, "big") + bytes(3), "holds labels: the files are swapped"),
        (
            b"\x00\x00\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (2, 2, 2)) + bytes(7),
            "expected 24 bytes .* got 23",
        ),
        (b"\x00\x00\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (2, 2, 2)) + bytes(9), "got 25"),
    ],
    ids=["empty", "floats", "labels", "short", "long"],
)
def test_what_is_no_idx_file_is_named(content: bytes, message: str) -> None:
    with pytest.raises(ZooError, match=message):
        idx.parse(content, Path("train-images-idx3-ubyte"), "images")


def test_a_truncated_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    write_idx(path, np.zeros((10_000, 28, 28), np.uint8))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ZooError, match=r"t10k-images-idx3-ubyte\.gz: truncated or damaged gzip"):
        data.load("mnist", "test", tmp_path)


def test_other_peoples_pixels_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz", np.zeros((10_000, 28, 28), np.uint8))
    write_idx(tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz", np.zeros(10_000, np.uint8))
    with pytest.raises(ZooError, match=r"expected t10k-images-idx3-ubyte of mnist .* got md5"):
        data.load("mnist", "test", tmp_path)


@needs_mnist
@pytest.mark.parametrize("wrong", ["mnist/train-images-idx3-ubyte.gz", "fashion-mnist/t10k-images-idx3-ubyte.gz"])
def test_swapped_files_are_recognised(tmp_path: Path, wrong: str) -> None:
    source = Path(os.environ["ZOO_DATA"])
    (tmp_path / "mnist").mkdir()
    shutil.copy(source / wrong, tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz")
    shutil.copy(source / "mnist" / "t10k-labels-idx1-ubyte.gz", tmp_path / "mnist")
    with pytest.raises(ZooError, match="the files are swapped"):
        data.load("mnist", "test", tmp_path)


def test_without_files_and_network_the_error_says_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(ZooError, match=r"is in none of .* put the four IDX files into a folder 'mnist'"):
        data.load("mnist", "test", tmp_path)
