"""Other people's samples: what is read, and what is refused and why."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_samples import BYTES, COLOUR, DIGITS, last, some
from PIL import Image
from zoo_bench.datasets.load import pixel_sha256
from zoo_bench.evaluation.samples import read

from zoo_core.commands import sample_files
from zoo_core.errors import ZooError
from zoo_core.images import ImageSpec
from zoo_core.weights import sha256_of


def shown(x: torch.Tensor, images: ImageSpec) -> np.ndarray[Any, Any]:
    """(N, H, W, C), bytes as a picture shows them."""
    return np.round(last(x) * (255 / (images.levels - 1))).astype(np.uint8)


def pictures(folder: Path, array: np.ndarray[Any, Any], name: str = "{}.png", **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(array):
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        picture.save(folder / name.format(i), **options)
    return folder


@pytest.mark.parametrize("images", [DIGITS, BYTES, COLOUR])
def test_every_form_gives_the_same_pixels(images: ImageSpec, tmp_path: Path) -> None:
    x = some(images)
    forms = [sample_files.write(tmp_path / f"ours.{form}", x, images) for form in ("npz", "npy")]
    np.savez(tmp_path / "adm.npz", last(x))
    np.save(tmp_path / "last.npy", last(x))
    np.save(tmp_path / "second.npy", x.numpy())
    forms += [tmp_path / "adm.npz", tmp_path / "last.npy", tmp_path / "second.npy"]
    forms.append(pictures(tmp_path / "folder", shown(x, images)))  # 10.png comes after 9.png
    for form in forms:
        found = read(form, images, n=12)
        assert torch.equal(found.x, x), form
        assert found.x.dtype == torch.uint8
        assert found.x.is_contiguous()
        assert found.sha256 == pixel_sha256(x.numpy())
        assert found.source == form.name


def test_grey_saved_as_colour_is_grey(tmp_path: Path) -> None:
    for images in (DIGITS, BYTES):
        x = some(images)
        np.savez(tmp_path / "adm.npz", last(x).repeat(3, axis=3), np.arange(12))
        found = read(tmp_path / "adm.npz", images)
        assert torch.equal(found.x, x)
        assert found.labels is not None
        assert found.labels.tolist() == list(range(12))
        folder = pictures(tmp_path / f"{images.levels}", shown(x, images).repeat(3, axis=3))
        assert torch.equal(read(folder, images).x, x)
        Image.open(folder / "3.png").convert("RGBA").save(folder / "3.png")  # opaque everywhere
        Image.open(folder / "4.png").convert("L").save(folder / "4.png")
        assert torch.equal(read(folder, images).x, x)


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


FLOATS = last(some(DIGITS)).astype(np.float32) / 16
WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "count": (lambda p: npz(p / "x.npz", images=last(some(DIGITS, 11))), "exactly 12 images, the file holds 11"),
    "unit": (lambda p: npz(p / "x.npz", images=FLOATS), r"float32 with values from 0 to 1; they look like \[0, 1\]"),
    "signed": (lambda p: npz(p / "x.npz", images=FLOATS * 2 - 1), r"they look like \[-1, 1\].*\(x \+ 1\) / 2 \* 16"),
    "nan": (lambda p: npz(p / "x.npz", images=FLOATS * np.nan), "NaN or infinite"),
    "int64": (lambda p: npz(p / "x.npz", images=last(some(DIGITS)).astype(int)), r"int64; save x.astype\('uint8'\)"),
    "bytes": (lambda p: npz(p / "x.npz", images=shown(some(DIGITS), DIGITS)), "up to 255; they look like bytes of 17"),
    "range": (lambda p: npz(p / "x.npz", images=last(some(DIGITS)) + 1), "0..16, got up to 17; the samples of another"),
    "second": (lambda p: npz(p / "x.npz", images=some(DIGITS).numpy()), "channels come second"),
    "size": (lambda p: npz(p / "x.npz", images=last(some(BYTES))), "expected 8 x 8 pixels and 1 channel"),
    "axes": (lambda p: npz(p / "x.npz", images=last(some(DIGITS))[..., 0]), r"x\[..., None\]"),
    "empty": (lambda p: npz(p / "x.npz", images=last(some(DIGITS))[:0]), "no image at all"),
    "levels": (lambda p: npz(p / "x.npz", images=last(some(DIGITS)), levels=256), "says 256 levels"),
    "name": (lambda p: npz(p / "x.npz", x=last(some(DIGITS))), "expected the array 'images'.*it holds x"),
    "labels": (lambda p: npz(p / "x.npz", images=last(some(DIGITS)), labels=[1, 2]), "expected 12 integer labels"),
    "pickle": (lambda p: npz(p / "x.npz", images=np.array([object()])), "Python objects"),
    "hash": (lambda p: npz(p / "x.npz", images=last(some(DIGITS)), sha256="0" * 64), "says 0000000000000000…"),
    "colours": (
        lambda p: npz(p / "x.npz", arr_0=last(some(ImageSpec(channels=3, height=8, width=8, levels=17)))),
        "image 0 has colours",
    ),
    "nowhere": (lambda p: p / "x.npz", "does not exist"),
    "kind": (lambda p: npz(p / "x.npz").rename(p / "x.txt"), "expected a .npz or .npy file"),
    "no pictures": (lambda p: p, "holds no PNG files"),
    "deeper": (lambda p: (p / "a").mkdir() or p, "sub-folders are not searched"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case: str, tmp_path: Path) -> None:
    make, message = WRONG[case]
    with pytest.raises(ZooError, match=message):
        read(make(tmp_path), DIGITS, n=12)


@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
def test_a_number_in_an_array_of_one_element_is_that_number(name: str, tmp_path: Path) -> None:
    x = some(DIGITS)
    notes = {"levels": [17], "sha256": [pixel_sha256(x.numpy())], "seed": [[5]], "n": 12}
    if name == "x.npz":
        npz(tmp_path / name, images=last(x), **notes)
    else:
        np.save(tmp_path / name, last(x))
        (tmp_path / "x.npy.json").write_text(json.dumps(notes))
    found = read(tmp_path / name, DIGITS)
    assert torch.equal(found.x, x)
    assert found.notes == {"seed": 5, "n": 12}


LEVELS: list[Any] = [[17, 17], [], "17", {"a": 1}, None, [[17], [17]]]


@pytest.mark.parametrize("levels", LEVELS)
def test_levels_that_are_no_number_are_said(levels: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", last(some(DIGITS)))
    (tmp_path / "x.npy.json").write_text(json.dumps({"levels": levels}))
    with pytest.raises(ZooError, match=r"x\.npy: expected one number as levels, 17 for the task's images, got"):
        read(tmp_path / "x.npy", DIGITS)
    if levels is not None and not isinstance(levels, dict):
        with pytest.raises(ZooError, match="expected one number as levels"):
            read(npz(tmp_path / "x.npz", images=last(some(DIGITS)), levels=levels), DIGITS)


LABELS = {
    "[[1], [1, 2]]": "got lists of different lengths",
    "[[1], 2, 3]": "got lists of different lengths",
    "[1, null]": "got object of shape",
    '{"a": 1}': "got object of shape",
    '"abc"': "got <U3 of shape",
    str([2**64 - 1] * 12): "got 18446744073709551615, which no int64 holds",
    str([2**64] * 12): "got object of shape",
    "[" * 100_000: "not JSON",
}


@pytest.mark.parametrize("labels", LABELS, ids=lambda labels: labels[:14])
def test_labels_beside_the_images_that_are_not_integers_are_said(labels: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", last(some(DIGITS)))
    (tmp_path / "x.npy.json").write_text(f'{{"labels": {labels}}}')
    with pytest.raises(ZooError, match=LABELS[labels]):
        read(tmp_path / "x.npy", DIGITS)


def test_exchanged_sides_and_ambiguous_channels(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", last(some(BYTES)).transpose(0, 2, 1, 3))
    with pytest.raises(ZooError, match="height and width are exchanged"):
        read(tmp_path / "x.npy", BYTES)
    cube = ImageSpec(channels=3, height=3, width=3)
    np.save(tmp_path / "y.npy", last(some(cube)))
    with pytest.raises(ZooError, match="it is ambiguous whether the channels come second or last"):
        read(tmp_path / "y.npy", cube)
    path = sample_files.write(tmp_path / "z.npy", some(cube), cube)  # says what it is in z.npy.json
    assert torch.equal(read(path, cube).x, some(cube))
    grey = npz(tmp_path / "x.npz", images=last(some(BYTES)))
    with pytest.raises(ZooError, match="have 3 channels, these are grey"):
        read(grey, COLOUR)


def test_a_changed_file_is_not_what_its_hash_says(tmp_path: Path) -> None:
    x = some(BYTES)
    path = sample_files.write(tmp_path / "x.npz", x, BYTES)
    held = dict(np.load(path))
    held["images"][3, 2, 1] ^= 1
    np.savez(path, **held)
    with pytest.raises(ZooError, match="changed after it was written"):
        read(path, BYTES)
    path = sample_files.write(tmp_path / "x.npy", x, BYTES)
    array = np.load(path)
    array[0] ^= 1
    np.save(path, array)
    with pytest.raises(ZooError, match="changed after it was written"):
        read(path, BYTES)
    np.savez(tmp_path / "theirs.npz", last(x))
    (tmp_path / "theirs.npz.json").write_text(json.dumps({"sha256": sha256_of(tmp_path / "theirs.npz")}))
    assert torch.equal(read(tmp_path / "theirs.npz", BYTES).x, x)
    np.savez(tmp_path / "theirs.npz", last(x)[::-1])
    with pytest.raises(ZooError, match="changed after it was written"):
        read(tmp_path / "theirs.npz", BYTES)
    folder = pictures(tmp_path / "folder", shown(x, BYTES))
    beside = tmp_path / "folder.json"
    beside.write_text(json.dumps({"sha256": pixel_sha256(x.numpy())}))
    assert torch.equal(read(folder, BYTES).x, x)
    (folder / "0.png").write_bytes((folder / "1.png").read_bytes())
    with pytest.raises(ZooError, match="changed after it was written"):
        read(folder, BYTES)


@pytest.mark.parametrize("keep", [0, 30, 200])
def test_broken_files_are_errors(keep: int, tmp_path: Path) -> None:
    for name in ("x.npz", "x.npy"):
        path = sample_files.write(tmp_path / name, some(BYTES), BYTES)
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(ZooError, match="broken"):
            read(path, BYTES)
    folder = pictures(tmp_path / "folder", shown(some(BYTES), BYTES))
    (folder / "7.png").write_bytes((folder / "7.png").read_bytes()[: keep // 5])
    with pytest.raises(ZooError, match=r"7\.png"):
        read(folder, BYTES)


def test_jpeg_is_refused_whatever_its_name_unless_the_task_allows_it(tmp_path: Path) -> None:
    array = shown(some(BYTES), BYTES)
    folder = pictures(tmp_path / "a", array, "{}.jpg")
    with pytest.raises(ZooError, match="is a JPEG: lossy"):
        read(folder, BYTES)
    assert len(read(folder, BYTES, lossy=True).x) == 12
    hidden = pictures(tmp_path / "b", array)
    Image.fromarray(array[5, ..., 0]).save(hidden / "5.png", format="JPEG")
    with pytest.raises(ZooError, match=r"5\.png is a JPEG inside"):
        read(hidden, BYTES)
    gif = pictures(tmp_path / "c", array, "{}.gif")
    with pytest.raises(ZooError, match="not a PNG file"):
        read(gif, BYTES, lossy=True)


def test_pictures_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    array = shown(some(DIGITS), DIGITS)
    array[2, 0, 0] = 17  # between the bytes of two levels
    with pytest.raises(
        ZooError, match=r"2\.png: .* 17 levels, shown as bytes 0, 16, 32, 48, …, 255; it holds the byte 17"
    ):
        read(pictures(tmp_path / "a", array), DIGITS)
    with pytest.raises(ZooError, match="expected 8 x 8 pixels"):
        read(pictures(tmp_path / "b", shown(some(BYTES), BYTES)), DIGITS)
    folder = pictures(tmp_path / "c", shown(some(BYTES), BYTES))
    clear = Image.open(folder / "1.png").convert("RGBA")
    clear.putalpha(100)
    clear.save(folder / "1.png")
    with pytest.raises(ZooError, match="transparent"):
        read(folder, BYTES)
    Image.fromarray(np.full((5, 4), 1000, np.uint16)).save(folder / "1.png")
    with pytest.raises(ZooError, match="16 bits per channel"):
        read(folder, BYTES)


def png(depth: int, colour_type: int, rows: np.ndarray[Any, Any]) -> bytes:
    """A PNG file of 4 x 5 pixels: Pillow writes no colours of 16 bits. rows: the bytes of each of the 5 lines."""
    header = struct.pack(">IIBBBBB", 4, 5, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))  # each line begins with its filter, none
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    packed = (struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_pictures_of_16_bits_are_refused_not_cut(colour_type: int, channels: int, tmp_path: Path) -> None:
    """Grey, RGB, grey and RGB with an (opaque) alpha channel; the same bytes as 8 bits are read."""
    images = COLOUR if channels > 2 else BYTES
    folder = pictures(tmp_path / "a", shown(some(images), images))
    (folder / "7.png").write_bytes(png(16, colour_type, np.full((5, 4 * channels), 0xFFFE, ">u2")))
    said = r"7\.png: expected a PNG of at most 8 bits per channel, got 16 bits per channel; .* save 8-bit PNG files"
    with pytest.raises(ZooError, match=said):
        read(folder, images)
    (folder / "7.png").write_bytes(png(8, colour_type, np.full((5, 4 * channels), 0xFF, np.uint8)))
    assert (read(folder, images).x[7] == 0xFF).all()


@pytest.mark.parametrize(("depth", "values"), [(1, [0, 255, 0, 255]), (2, [0, 85, 170, 255]), (4, [0, 17, 34, 255])])
def test_pictures_of_fewer_bits_are_read_exactly(depth: int, values: list[int], tmp_path: Path) -> None:
    levels = [value * (2**depth - 1) // 255 for value in values]
    packed = sum(level << depth * (3 - i) for i, level in enumerate(levels)) << max(0, 8 - 4 * depth)
    row = np.frombuffer(packed.to_bytes(max(1, depth // 2), "big"), np.uint8)
    (tmp_path / "0.png").write_bytes(png(depth, 0, np.stack([row] * 5)))
    assert read(tmp_path, BYTES).x[0, 0].tolist() == [values] * 5


@pytest.mark.parametrize("options", [{}, {"default_image": True}])
def test_an_animated_picture_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    array = shown(some(BYTES), BYTES)
    folder = pictures(tmp_path / "a", array)
    others = [Image.fromarray(image[..., 0]) for image in array[:2]]
    Image.fromarray(array[5, ..., 0]).save(folder / "5.png", save_all=True, append_images=others, **options)
    with pytest.raises(ZooError, match=r"5\.png: expected one picture, got an animated PNG of 3; save each in a PNG"):
        read(folder, BYTES)


def shard(folder: Path, chunk: int, x: np.ndarray[Any, Any]) -> Path:
    """A file as `zoo sample` keeps a chunk in."""
    np.save(folder / "new.npy", x)
    return (folder / "new.npy").rename(folder / f"{chunk:06}.{sha256_of(folder / 'new.npy')[:16]}.npy")


def test_shards_are_read_when_all_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "x.npz.shards"
    folder.mkdir()
    (folder / "request.json").write_text(json.dumps({"n": 12, "seed": 5}))
    x = some(BYTES).numpy()
    shard(folder, 0, x[:8])
    with pytest.raises(ZooError, match="8 of 12 images are drawn"):
        read(folder, BYTES)
    second = shard(folder, 1, x[8:])
    found = read(folder, BYTES)
    assert np.array_equal(found.x.numpy(), x)
    assert found.notes["seed"] == 5
    for damaged in (np.zeros_like(x[8:]), x[4:8]):
        np.save(second, damaged)
        with pytest.raises(ZooError, match=r"8 of 12 images are drawn and undamaged; finish it with the same"):
            read(folder, BYTES)


def test_labels_that_shards_were_asked_for_are_those_of_each_image(tmp_path: Path) -> None:
    """As in the file that the shards become."""
    x, labels = some(DIGITS, 3), torch.tensor([3, 1, 3])
    (folder := tmp_path / "x.npz.shards").mkdir()
    (folder / "request.json").write_text(json.dumps({"n": 3, "labels": [3, 1]}))
    shard(folder, 0, x.numpy())
    sample_files.write(tmp_path / "x.npz", x, DIGITS, n=3, labels=labels)
    for path in (folder, tmp_path / "x.npz"):
        found = read(path, DIGITS).labels
        assert found is not None
        assert found.tolist() == [3, 1, 3]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"n": "12"}', '{"n": 0}'])
def test_a_broken_request_of_shards_is_an_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(content)
    with pytest.raises(ZooError, match=r"request\.json is none of zoo sample's"):
        read(tmp_path, BYTES)
