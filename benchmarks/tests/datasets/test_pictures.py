"""Pictures from files: every kind is read as promised, and whatever is wrong with one is said with its name."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from zoo_bench import evaluate, train
from zoo_bench.cards import files
from zoo_bench.datasets import amat, cifar, emoji, folders, pictures
from zoo_bench.datasets import load as data

from zoo_core import DatasetSpec, ImageSpec, ZooError

RNG = np.random.RandomState(0)


def picture(path: Path, size: tuple[int, int] = (8, 8), colour: object = None, mode: str = "RGB", **options) -> Path:
    """A picture of one colour, or of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if colour is None:
        noise = RNG.randint(256, size=(size[1], size[0], 3)).astype(np.uint8)
        Image.fromarray(noise).convert(mode).save(path, **options)
    else:
        Image.new(mode, size, colour).save(path, **options)
    return path


def encoded(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "PNG", **options})
    return buffer.getvalue()


def decode(content: bytes, name: str = "folder:x") -> np.ndarray:
    return pictures.decode(content, "x.png", pictures.parse(name))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Sixty small pictures without splits."""
    for i in range(60):
        picture(tmp_path / "photos" / f"{i:02d}.png")
    return tmp_path / "photos"


def test_names_are_canonical() -> None:
    assert data.named("folder:photos/", size=32, grey=True) == "folder:photos?size=32&grey=1"
    assert data.named("folder:photos?grey=1&size=16", size=8) == "folder:photos?size=8&grey=1"
    assert data.named("folder:photos?size=8&grey=0") == "folder:photos?size=8"
    assert data.named("hf:org/repo", grey=True) == "hf:org/repo?grey=1"
    assert data.named("digits") == "digits"
    with pytest.raises(ZooError, match="--size and --grey are for folder: and hf:"):
        data.named("digits", size=8)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder:", "expected folder:PLACE"),
        ("folder:x?sise=3", "unknown option of folder:x 'sise'; did you mean 'size'"),
        ("folder:x?size=0", "expected a size of 1 to 4096 pixels, got '0'"),
        ("folder:x?size=big", "expected a size"),
        ("folder:x?grey=yes", "expected grey=0 or grey=1, got grey=yes"),
        ("folder:x?", "expected KEY=VALUE"),
        ("foldr:x", "unknown data set"),
    ],
)
def test_names_that_mean_nothing(name: str, message: str) -> None:
    with pytest.raises(ZooError, match=message):
        data.find(name)


def test_a_folder_is_split_by_the_content_of_its_files(photos: Path, tmp_path: Path) -> None:
    name = f"folder:{photos}"
    splits = {split: data.load(name, split) for split in pictures.SPLITS}
    assert sum(len(split) for split in splits.values()) == 60
    assert all(len(split) > 0 for split in splits.values())
    assert splits["train"].images == ImageSpec(channels=3, height=8, width=8, levels=256)
    assert splits["train"].pinned.labels is None
    copy = tmp_path / "copy"
    for i, path in enumerate(sorted(photos.iterdir())):  # other names, one file more: nothing else moves
        copy.mkdir(exist_ok=True)
        (copy / f"other{i:02d}.png").write_bytes(path.read_bytes())
    picture(copy / "zz.png")
    (copy / ".hidden.png").write_bytes(b"not a picture")
    again = {split: data.load(f"folder:{copy}", split) for split in pictures.SPLITS}
    for split in pictures.SPLITS:
        kept = again[split].pinned.x[: len(splits[split])]
        assert torch.equal(kept, splits[split].pinned.x)


def test_own_splits_classes_and_captions(tmp_path: Path) -> None:
    for split, count in (("train", 30), ("test", 2)):
        for label, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            for i in range(count):
                path = picture(tmp_path / split / label / f"{i}.png", (8 + i, 8), colour)
                path.with_suffix(".txt").write_text(f" a {label} square \n", encoding="utf-8")
    name = f"folder:{tmp_path}?size=4"
    found = data.find(name)
    assert found.class_names == ("blue", "red")
    assert found.captions
    test = data.load(name, "test")
    assert test.pinned.labels.tolist() == [0, 0, 1, 1]
    assert test.pinned.text == ["a blue square"] * 2 + ["a red square"] * 2
    assert test.pinned.x[0, :, 0, 0].tolist() == [0, 0, 255]
    assert len(data.load(name, "train")) + len(data.load(name, "validation")) == 60  # nothing was moved into the test
    drawn = test.draw(torch.tensor([3, 0]), seed=0)
    assert drawn.text == ["a red square", "a blue square"]
    assert drawn.labels.tolist() == [1, 0]
    assert data.find(f"folder:{tmp_path}?size=4&labels=0").images.classes == 0


def test_bad_folders_say_what_is_wrong(tmp_path: Path) -> None:
    def refused(folder: Path, match: str, query: str = "") -> None:
        with pytest.raises(ZooError, match=match):
            data.load(f"folder:{folder}{query}")

    refused(tmp_path / "none", "the folder .*none does not exist")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no pictures .* which is empty")
    (tmp_path / "empty" / "a.tiff").write_bytes(b"x")
    refused(tmp_path / "empty", r"no pictures \(png, jpg, .*; it holds \.tiff")
    one, two = picture(tmp_path / "mixed" / "a.png", (8, 8)), picture(tmp_path / "mixed" / "b.png", (9, 7))
    refused(tmp_path / "mixed", f"{one} is 8 x 8, {two} is 9 x 7; choose one with --size")
    refused(tmp_path / "mixed", "no picture falls into split|labels come from two or more", "?size=4&labels=1")
    picture(tmp_path / "labels" / "cats" / "a.png")
    refused(tmp_path / "labels", "there is only 'cats'", "?labels=1")
    outside = picture(tmp_path / "labels" / "b.png")
    refused(tmp_path / "labels", f"{outside} is in none", "?labels=1")
    (tmp_path / "labels" / "cats" / "a.txt").write_text("a cat")
    refused(tmp_path / "labels", r"b\.png has no caption b\.txt")
    outside.unlink()
    (tmp_path / "labels" / "cats" / "a.txt").write_bytes(b"caf\xe9")
    there = pictures.split_of((tmp_path / "labels" / "cats" / "a.png").read_bytes())
    folders.scan.cache_clear()
    with pytest.raises(ZooError, match=r"a\.txt: the caption is not in UTF-8"):
        data.load(f"folder:{tmp_path / 'labels'}", there)


def test_broken_and_huge_pictures_are_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = photos / "30.png"
    whole = broken.read_bytes()
    for content, match in ((b"", "not a picture"), (b"hello", "not a picture"), (whole[:20], "(picture|image)")):
        broken.write_bytes(content)
        with pytest.raises(ZooError, match=rf"30\.png: .*{match}"):
            data.find(f"folder:{photos}")
    broken.write_bytes(whole[:-60])  # the header is there, the end isn't
    with pytest.raises(ZooError, match=r"30\.png: a corrupt image"):
        for split in pictures.SPLITS:
            data.load(f"folder:{photos}", split)
    broken.write_bytes(encoded(Image.new("1", (9000, 9000))))
    folders.scan.cache_clear()
    with pytest.raises(ZooError, match=r"30\.png: 9000 x 9000 pixels; a picture may have 50,000,000 at most"):
        data.find(f"folder:{photos}")
    broken.write_bytes(encoded(Image.new("1", (20000, 20000))))
    with pytest.raises(ZooError, match=r"30\.png: .*(huge|pixels)"):
        data.find(f"folder:{photos}")
    broken.write_bytes(whole)
    monkeypatch.setattr(pictures, "MAX_BYTES", 2000)
    with pytest.raises(ZooError, match=r"held in memory, .* take a smaller size \(--size\)"):
        data.load(f"folder:{photos}")


def test_a_split_without_pictures_says_where_they_are(tmp_path: Path) -> None:
    path = picture(tmp_path / "one" / "a.png")
    there = pictures.split_of(path.read_bytes())
    for split in set(pictures.SPLITS) - {there}:
        with pytest.raises(ZooError, match=f"no picture falls into split '{split}' .*1 in {there}"):
            data.load(f"folder:{tmp_path / 'one'}", split)


def test_transparent_pictures_lie_on_white() -> None:
    half = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    half.putpixel((1, 0), (255, 0, 0, 128))
    assert decode(encoded(half))[:, 0, :].T.tolist() == [[255, 255, 255], [255, 127, 127]]
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([10, 20, 30])
    assert decode(encoded(palette, transparency=0)).flatten().tolist() == [255, 255, 255]
    assert decode(encoded(Image.new("LA", (1, 1), (0, 0)))).flatten().tolist() == [255, 255, 255]


def test_every_depth_and_format_becomes_bytes() -> None:
    deep = Image.fromarray(np.array([[0, 257, 25700, 65535]], np.uint16))
    assert decode(encoded(deep), "folder:x?grey=1").flatten().tolist() == [0, 1, 100, 255]
    assert decode(encoded(Image.new("1", (1, 1), 1)), "folder:x?grey=1").flatten().tolist() == [255]
    for form in ("JPEG", "WEBP", "BMP", "GIF"):
        grey = decode(encoded(Image.new("RGB", (8, 8), (90, 90, 90)), format=form), "folder:x?grey=1")
        assert grey.shape == (1, 8, 8)
        assert abs(int(grey.mean()) - 90) <= 1
    cmyk = decode(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), format="JPEG"))
    assert cmyk.min() > 250
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    moving = decode(encoded(frames[0], format="GIF", save_all=True, append_images=frames[1:]))
    assert moving[:, 0, 0].tolist() == [255, 0, 0]
    with pytest.raises(ZooError, match="not a picture"):
        decode(encoded(Image.new("RGB", (4, 4)), format="TIFF"))


def test_pictures_are_turned_upright_and_cut_in_the_middle() -> None:
    wide = Image.new("RGB", (8, 4), "black")
    wide.paste((255, 255, 255), (2, 0, 6, 4))
    assert decode(encoded(wide), "folder:x?size=4").min() == 255  # the middle square
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(wide, exif=exif)
    assert pictures.measure(content, "x") == (8, 4)
    assert decode(content).shape == (3, 8, 4)


def test_a_model_is_trained_and_scored_on_your_own_pictures(photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = data.named("folder:photos", size=4, grey=True)
    run = train("gaussian", name, out=tmp_path / "run", quiet=True)
    assert run.plan.name == "gaussian.folder-photos"
    monkeypatch.setattr("sys.argv", ["zoo", "train", "--data", f"folder:{photos}", f"--data=folder:{photos}?size=4"])
    card = evaluate(str(run.weights), out=tmp_path / "out")
    assert card.task.id == "data@1/folder-photos"
    assert card.data.name == "folder:photos?size=4&grey=1"
    assert card.data.sha256 == data.load(name, "test").sha256
    assert card.command == "zoo train --data folder:photos '--data=folder:photos?size=4'"
    assert str(photos) not in str({key: value for key, value in card.to_dict().items() if key != "model"})
    assert files.read(next((tmp_path / "out").glob("*.json"))).metrics[0].value > 0
    assert data.public(f"folder:{photos}?size=4") == "folder:photos?size=4"


def test_other_sets_of_the_zoo_have_a_plain_task(tmp_path: Path) -> None:
    from zoo_bench.tasks import suites

    suite, task = suites.find_task("fashion_bin")
    assert suite.task_id(task) == "data@1/fashion_bin"
    with pytest.raises(ZooError, match="did you mean"):
        suites.find_task("fasion")


@pytest.mark.skipif(importlib.util.find_spec("datasets") is not None, reason="datasets is installed")
def test_the_hub_needs_an_extra() -> None:
    with pytest.raises(ZooError, match=r'not installed: pip install "zoo-bench\[hf\]"'):
        data.load("hf:org/repo?size=32")


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs Hugging Face datasets")
def test_a_local_repository_is_read_as_a_folder_is(photos: Path, tmp_path: Path) -> None:
    import datasets

    files = sorted(photos.iterdir())
    rows = {
        "image": [str(path) for path in files],
        "label": [i % 2 for i in range(60)],
        "text": [p.name for p in files],
    }
    kinds = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["a", "b"]),
        "text": datasets.Value("string"),
    }
    (tmp_path / "repo").mkdir()
    datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).to_parquet(tmp_path / "repo" / "train.parquet")
    for split in pictures.SPLITS:
        here, there = data.load(f"folder:{photos}", split), data.load(f"hf:{tmp_path / 'repo'}", split)
        assert torch.equal(here.pinned.x, there.pinned.x)
        assert there.pinned.labels.tolist() == [int(text[:2]) % 2 for text in there.pinned.text]


def cifar_file(labels: np.ndarray) -> bytes:
    pixels = np.random.RandomState(1).randint(256, size=(len(labels), 3072))
    return np.concatenate([labels[:, None], pixels], 1).astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def cifar_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files in CIFAR-10's format: each class equally often in the test file and in the training files together."""
    root = tmp_path_factory.mktemp("cifar")
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    rng = np.random.RandomState(0)
    labels = rng.permutation(np.repeat(np.arange(10), 5000))
    for i, name in enumerate(cifar.TRAIN):
        (folder / name).write_bytes(cifar_file(labels[i * 10_000 : (i + 1) * 10_000]))
    (folder / cifar.TEST).write_bytes(cifar_file(rng.permutation(np.repeat(np.arange(10), 1000))))
    return root


def test_cifar_is_split_and_laid_out_as_said(cifar_folder: Path) -> None:
    splits = {split: data.load("cifar10", split, cifar_folder) for split in pictures.SPLITS}
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 45_000,
        "validation": 5_000,
        "test": 10_000,
    }
    last = (cifar_folder / "cifar-10-batches-bin" / "data_batch_5.bin").read_bytes()[-3073:]
    assert splits["validation"].pinned.labels[-1] == last[0]
    x = splits["validation"].pinned.x[-1]
    assert x[1, 2, 3] == last[1 + 1024 + 2 * 32 + 3]  # green, third row, fourth column


def test_wrong_cifar_files_are_named(cifar_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {path.name: path.read_bytes() for path in (cifar_folder / "cifar-10-batches-bin").iterdir()}

    def refused(match: str, split: str = "test", **changed: bytes) -> None:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        (root / "cifar-10-batches-bin").mkdir(parents=True)
        for name, content in {**whole, **{f"{key}.bin": value for key, value in changed.items()}}.items():
            (root / "cifar-10-batches-bin" / name).write_bytes(content)
        with pytest.raises(ZooError, match=match):
            data.load("cifar10", split, root)

    test, first = whole["test_batch.bin"], whole["data_batch_1.bin"]
    refused(
        "test_batch.bin of CIFAR-10: truncated .* expected 30,730,000 bytes .* got 30,729,999", test_batch=test[:-1]
    )
    refused("it looks like CIFAR-100", test_batch=bytes(10_000 * 3074))
    refused("expected labels 0..9, got 77", test_batch=bytes([77]) + test[1:])
    refused("in the test file, .* swapped", test_batch=first, data_batch_1=test)
    refused("in the five training files together", "train", data_batch_2=first)
    (tmp_path / "lone" / "cifar-10-batches-bin").mkdir(parents=True)
    with pytest.raises(ZooError, match=r"test_batch\.bin is missing"):
        data.load("cifar10", "test", tmp_path / "lone")
    (tmp_path / "archive").mkdir()
    with tarfile.open(tmp_path / "archive" / cifar.ARCHIVE, "w:gz") as archive:
        archive.add(cifar_folder / "cifar-10-batches-bin" / "test_batch.bin", "cifar-10-batches-bin/test_batch.bin")
    with pytest.raises(ZooError, match=f"not the published archive: expected md5 {cifar.MD5}"):
        data.load("cifar10", "test", tmp_path / "archive")
    unpacked = tmp_path / "archive" / cifar.ARCHIVE
    monkeypatch.setattr(cifar, "MD5", hashlib.md5(unpacked.read_bytes()).hexdigest())
    assert cifar.unpack(unpacked, [cifar.TEST])[cifar.TEST] == test
    with pytest.raises(ZooError, match="cannot be unpacked"):
        cifar.unpack(unpacked, ["data_batch_1.bin"])


def test_static_mnist_is_read_from_its_text(tmp_path: Path) -> None:
    bits = RNG.randint(2, size=(3, 784))
    lines = [" ".join(map(str, row)) + " " for row in bits]
    path = tmp_path / "binarized_mnist_valid.amat"

    def parse(lines: list[str], rows: int = 3) -> np.ndarray:
        return amat.parse("\n".join(lines).encode() + b"\n", path, rows)

    assert (parse(lines) == bits).all()
    with pytest.raises(ZooError, match=r"valid\.amat: expected 3 lines, one per image, got 2"):
        parse(lines[:2])
    with pytest.raises(ZooError, match=r"line 2: expected 784 .* got 783"):
        parse([lines[0], " ".join(map(str, bits[1][:-1])), lines[2]])
    with pytest.raises(ZooError, match="line 3: expected 0 or 1 in column 784"):
        parse([*lines[:2], lines[2].strip()[:-1] + "7"])
    path.write_bytes(gzip.compress(b"0"))
    with pytest.raises(ZooError, match="expected 10,000 lines"):
        data.load("mnist_bin_static", "validation", tmp_path)
    with pytest.raises(ZooError, match=r"binarized_mnist_test\.amat is in none of .* into a folder 'mnist_bin_static'"):
        data.load("mnist_bin_static", "test", tmp_path)


def font_is_here() -> bool:
    try:
        return emoji.find(Path(os.environ["ZOO_DATA"]) if "ZOO_DATA" in os.environ else None).is_file()
    except ZooError:
        return False


def test_without_the_font_the_error_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emoji, "SYSTEM", tmp_path / "nowhere")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ZooError, match="apt-get install fonts-noto-color-emoji"):
        data.load("emoji", "train", tmp_path)
    (tmp_path / emoji.FONT).write_bytes(b"another font")
    with pytest.raises(ZooError, match="another version of the font"):
        data.load("emoji", "train", tmp_path)


@pytest.mark.skipif(not font_is_here(), reason=f"needs Debian's package {emoji.PACKAGE}")
def test_emoji_are_pinned_and_near_duplicates_stay_together() -> None:
    splits = {split: data.load("emoji", split) for split in pictures.SPLITS}
    assert {name: len(split) for name, split in splits.items()} == {"train": 1147, "validation": 110, "test": 136}
    where = {text: name for name, split in splits.items() for text in split.pinned.text}
    assert len(where) == 1393
    assert len({split for text, split in where.items() if text.startswith("clock face")}) == 1
    assert len({split for text, split in where.items() if "fitzpatrick" in text}) == 1
    assert "grinning face" in where


def test_pictures_that_are_nearly_equal_form_a_group() -> None:
    base = np.full((4, 4, 3), 100, np.uint8)
    shown = np.stack([base, base + 90, base + 15, base + 30, base + 95])
    names = ["a", "b", "c", "d", "a"]
    assert emoji.near_duplicates(shown[:4], names[:4]) == [0, 1, 0, 0]  # 15 and 15 apart: one chain
    assert emoji.near_duplicates(shown, names) == [0, 0, 0, 0, 0]  # a name in common joins two groups
    assert emoji.kin(0x1F534) == emoji.kin(0x1F535) == "large circle"
    assert emoji.kin(0x1F311) == emoji.kin(0x1F315) == "moon symbol"


def test_a_set_of_a_plugin_may_bring_captions() -> None:
    spec = DatasetSpec(name="x", summary="", target="a:b", images=ImageSpec(channels=1, height=1, width=1), splits={},
                       licence="", captions=True)  # fmt: skip
    assert spec.truth == ""
    assert data.truth(spec) is None
