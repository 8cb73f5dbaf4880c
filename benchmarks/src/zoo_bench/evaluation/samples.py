"""Other people's samples: images in a file or a folder, read as what a task expects, or refused with the reason.

    samples = read("theirs.npz", ImageSpec(channels=3, height=32, width=32), n=50_000)
    samples.x                                 # uint8 (N, C, H, W)

Read are `.npz` (`images`, uint8 `(N, H, W, C)`, as `zoo sample` writes it, or `arr_0` in the layout of Dhariwal and
Nichol, "Diffusion models beat GANs on image synthesis", 2021, https://arxiv.org/abs/2105.05233), `.npy`, a folder of
PNG files in numeric order, and the folder of shards of a `zoo sample`. Nothing is scaled, cut or guessed: a number
about images that were converted on the way would be a number about the conversion.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo_bench.datasets.load import pixel_sha256
from zoo_core.commands.sample_files import kept
from zoo_core.errors import ZooError
from zoo_core.images import ImageSpec
from zoo_core.weights import sha256_of

Array = np.ndarray[Any, Any]

_BROKEN = (ValueError, OSError, EOFError, KeyError, SyntaxError, zipfile.BadZipFile, MemoryError)
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_MAGIC = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}


@dataclass(frozen=True)
class Samples:
    """Images as a task takes them.

    x: uint8 `(N, C, H, W)`, values `0 .. levels-1`. sha256: of its pixels. source: the file's name without its folders.
    notes: what the file says about itself. labels: int64 `(N,)`, where the file brings some.
    """

    x: Tensor
    sha256: str
    source: str
    notes: dict[str, Any] = field(default_factory=dict)
    labels: Tensor | None = None


def read(path: str | Path, images: ImageSpec, *, lossy: bool = False, n: int | None = None) -> Samples:
    """The images in `path`; `ZooError` says in what way they are not what `images` describes.

    lossy: whether JPEG files are taken. n: how many there must be.
    """
    path = Path(path)
    if not path.exists():
        raise ZooError(f"{path} does not exist; give a .npz or .npy file or a folder of PNG files")
    notes: dict[str, Any] = {}
    if path.is_dir() and (path / "request.json").is_file():
        notes = _request(path)
        array, order = _shards(path, notes["n"]), "NCHW"
    elif path.is_dir():
        array, order = _folder(path, images, lossy), "NHWC"
    elif path.suffix == ".npz":
        array, notes = _npz(path)
        order = "NHWC"
    elif path.suffix == ".npy":
        array = _load(path)
        order = _order(array, images, path, beside=_sidecar(path))
    else:
        kinds = "a .npz or .npy file, or a folder of PNG files"
        raise ZooError(f"{path}: expected {kinds}, got {'a ' + path.suffix if path.suffix else 'another'} file")
    notes = {key: value if key == "labels" else _single(value) for key, value in (_sidecar(path) | notes).items()}
    array = _channels_second(_checked(array, images, order, path), order)
    stated = notes.pop("sha256", None)  # of the pixels; a file beside may tell that of the whole file instead
    if stated not in (None, pixel_sha256(array)) and not (path.is_file() and stated == sha256_of(path)):
        raise ZooError(
            f"{path}: its pixels hash to {pixel_sha256(array)[:16]}…, but it says {str(stated)[:16]}…: the file was "
            "changed after it was written; draw the samples again"
        )
    array = _levels(_colours(array, images, path), images, path, notes)
    if n is not None and len(array) != n:
        raise ZooError(f"{path}: the task takes exactly {n:,} images, the file holds {len(array):,}")
    labels = notes.pop("labels", None)
    x = torch.from_numpy(np.ascontiguousarray(array))
    return Samples(x, pixel_sha256(array), path.name, notes, _labels(labels, len(x), path))


def _npz(path: Path) -> tuple[Array, dict[str, Any]]:
    """The array `images` or `arr_0`, and everything else in the file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except _BROKEN as error:
        raise ZooError(f"{path}: {_complaint(error)}") from error
    for name, labels in (("images", "labels"), ("arr_0", "arr_1")):
        if name in held:
            array = held.pop(name)
            given = {"labels": held.pop(labels)} if labels in held else {}
            return array, {key: value.tolist() for key, value in held.items()} | given
    there = ", ".join(held) or "nothing"
    raise ZooError(f"{path}: expected the array 'images' (or 'arr_0'), uint8 (N, H, W, C); it holds {there}")


def _load(path: Path) -> Array:
    try:
        found: Array = np.load(path, allow_pickle=False)
    except _BROKEN as error:
        raise ZooError(f"{path}: {_complaint(error)}") from error
    return found


def _request(folder: Path) -> dict[str, Any]:
    """What a `zoo sample` that draws into this folder was asked for, its labels being those of each image."""
    try:
        request = json.loads((folder / "request.json").read_text())
        if type(request["n"]) is not int or request["n"] < 1:
            raise TypeError
    except (ValueError, KeyError, TypeError) as error:
        raise ZooError(
            f"{folder}: its request.json is none of zoo sample's; move it away to score the folder's pictures"
        ) from error
    if isinstance(asked := request.get("labels"), list) and asked:  # `--label 3 --label 1`: in turn
        request["labels"] = [asked[i % len(asked)] for i in range(request["n"])]
    return request  # type: ignore[no-any-return]


def _shards(folder: Path, n: int) -> Array:
    """The chunks that a `zoo sample` has drawn: all of them and none damaged, or an error."""
    parts = [_load(file) for file in kept(folder).values()]
    if sum(map(len, parts)) != n:
        drawn = f"{sum(map(len, parts)):,} of {n:,} images are drawn and undamaged"
        raise ZooError(f"{folder}: {drawn}; finish it with the same `zoo sample` command")
    return np.concatenate(parts)


def _single(value: Any) -> Any:
    """What is alone in a list, as a number saved as an array of one element is."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _sidecar(path: Path) -> dict[str, Any]:
    """`FILE.json` beside a file: what is known about it."""
    beside = path.with_name(f"{path.name}.json")
    if not beside.is_file():
        return {}
    try:
        found = json.loads(beside.read_text())
    except (ValueError, RecursionError) as error:
        raise ZooError(f"{beside}: not JSON ({error}); repair or remove it") from error
    return dict(found) if isinstance(found, dict) else {}


def _order(array: Array, images: ImageSpec, path: Path, beside: dict[str, Any]) -> str:
    """Where the channels of a bare array are: said by its shape, or by the file beside it that `zoo sample` writes."""
    channels, height, width = images.shape
    last, second = (height, width, channels), (channels, height, width)
    if array.shape[1:] == last == second and "sha256" not in beside:
        raise ZooError(
            f"{path}: with the shape {array.shape} it is ambiguous whether the channels come second or last; save it "
            "as .npz with the array 'images', (N, H, W, C)"
        )
    return "NCHW" if array.shape[1:] == second != last else "NHWC"


def _checked(array: Array, images: ImageSpec, order: str, path: Path) -> Array:
    """Of the right type, and of the task's size in the order that it claims."""
    if array.dtype != np.uint8:
        raise ZooError(f"{path}: expected uint8 pixels 0..{images.levels - 1}, got {_other_type(array, images)}")
    channels, height, width = images.shape
    wanted = "(N, H, W, C)" if order == "NHWC" else "(N, C, H, W)"
    if array.ndim != 4:
        hint = "; grey images have a last axis of 1: x[..., None]" if array.ndim == 3 else ""
        raise ZooError(f"{path}: expected four axes, {wanted}, got the shape {array.shape}{hint}")
    if len(array) == 0:
        raise ZooError(f"{path}: holds no image at all (shape {array.shape})")
    found = array.shape[1:] if order == "NHWC" else (*array.shape[2:], array.shape[1])
    if found[:2] == (height, width) and found[2] in (1, 3):
        return array
    expected = f"expected {height} x {width} pixels and {channels} channel{'s' if channels > 1 else ''}, {wanted}"
    hint = f"; the task's images are {images}"
    if array.shape[1:] == (channels, height, width):
        hint = "; its channels come second, as in torch: x.transpose(0, 2, 3, 1) puts them last"
    elif found == (width, height, channels):
        hint = "; height and width are exchanged"
    raise ZooError(f"{path}: {expected}, got the shape {array.shape}{hint}")


def _other_type(array: Array, images: ImageSpec) -> str:
    top = images.levels - 1
    if array.dtype.kind == "f" and array.size:
        low, high = float(array.min()), float(array.max())
        if not np.isfinite([low, high]).all():
            return f"{array.dtype} with NaN or infinite values"
        said = f"{array.dtype} with values from {low:g} to {high:g}"
        if low >= 0 and high <= 1:
            return f"{said}; they look like [0, 1]: if so, save (x * {top}).round().astype('uint8')"
        if low >= -1 and high <= 1:
            return f"{said}; they look like [-1, 1]: if so, save ((x + 1) / 2 * {top}).round().astype('uint8')"
        return f"{said}; save integers: x.round().astype('uint8')"
    return f"{array.dtype}; save x.astype('uint8')"


def _channels_second(array: Array, order: str) -> Array:
    return array if order == "NCHW" else array.transpose(0, 3, 1, 2)


def _colours(array: Array, images: ImageSpec, path: Path) -> Array:
    """Grey images that were saved as colours become grey again; nothing else is converted. `(N, C, H, W)`."""
    if array.shape[1] == images.channels:
        return array
    if images.channels == 1:
        if (array == array[:, :1]).all():
            return array[:, :1]
        i = int(np.flatnonzero((array != array[:, :1]).any(axis=(1, 2, 3)))[0])
        raise ZooError(f"{path}: the task's images are grey, but image {i} has colours (unequal channels)")
    raise ZooError(f"{path}: the task's images have {images.channels} channels, these are grey (one channel)")


def _levels(array: Array, images: ImageSpec, path: Path, notes: dict[str, Any]) -> Array:
    """Values `0 .. levels-1`, and not of a file that was made for other levels."""
    stated = notes.pop("levels", images.levels)
    if not isinstance(stated, (int, float)):
        raise ZooError(
            f"{path}: expected one number as levels, {images.levels} for the task's images, got {stated!r:.60}; save "
            "that number, or the images alone"
        )
    if stated != images.levels:
        raise ZooError(f"{path}: says {stated} levels, the task's images have {images.levels}: another data set?")
    top = int(array.max())
    if top >= images.levels:
        hint = "the samples of another data set, or scaled"
        if np.isin(array, _bytes_of(images)).all():
            hint = f"they look like bytes of {images.levels} levels: save (x / 255 * {images.levels - 1}).round()"
        raise ZooError(f"{path}: expected values 0..{images.levels - 1}, got up to {top}; {hint}")
    return array


def _labels(given: Any, n: int, path: Path) -> Tensor | None:
    if given is None:
        return None
    what = f"{path}: expected {n:,} integer labels, one for each image"
    try:
        labels = np.asarray(given)
    except ValueError as error:  # a ragged list
        raise ZooError(f"{what}, got lists of different lengths, {given!r:.60}; save a flat list") from error
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise ZooError(f"{what}, got {labels.dtype} of shape {labels.shape}; save them so, or leave them out")
    if labels.max() > np.iinfo(np.int64).max:
        raise ZooError(f"{what}, got {labels.max()}, which no int64 holds; save the numbers of classes, 0, 1, …")
    return torch.from_numpy(labels.astype(np.int64))


def _bytes_of(images: ImageSpec) -> Array:
    """The byte that shows each level in an 8-bit picture, as `zoo sample` writes them: round(l * 255 / (K - 1))."""
    return np.round(np.arange(images.levels) * (255 / (images.levels - 1))).astype(np.uint8)


def _folder(folder: Path, images: ImageSpec, lossy: bool) -> Array:
    """The pictures of a folder in numeric order, uint8 `(N, H, W, C)`: image2.png comes before image10.png."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    pictures = sorted((path for path in files if path.suffix.lower() in _PICTURES), key=_numeric)
    if not pictures:
        below = " (its sub-folders are not searched)" if any(path.is_dir() for path in folder.iterdir()) else ""
        raise ZooError(f"{folder}: holds no PNG files{below}")
    array: Array | None = None
    for i, path in enumerate(pictures):
        picture = _picture(path, images, lossy)
        if array is None:
            array = np.empty((len(pictures), *picture.shape), np.uint8)
        if array.shape[3] == 1 and picture.shape[2] == 3:  # grey so far: a picture with colours is told so later
            array = array.repeat(3, axis=3)
        array[i] = picture
    assert array is not None
    return array


def _numeric(path: Path) -> list[Any]:
    """Sorts by the numbers in a name: as text and number in turn."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def _picture(path: Path, images: ImageSpec, lossy: bool) -> Array:
    """uint8 `(H, W, C)`, values `0 .. levels-1`."""
    content = path.read_bytes()
    kind = next((kind for magic, kind in _MAGIC.items() if content.startswith(magic)), None)
    if kind == "JPEG" and not lossy:
        inside = "" if path.suffix.lower() in (".jpg", ".jpeg") else " inside, whatever its name says"
        raise ZooError(f"{path} is a JPEG{inside}: lossy, so its compression would be measured too; save PNG files")
    if kind is None:
        raise ZooError(f"{path}: not a PNG file (it begins with {content[:4]!r}); save PNG files")
    try:
        with Image.open(io.BytesIO(content), formats=(kind,)) as image:
            if image.size != (images.width, images.height):
                size = f"{image.width} x {image.height}"
                raise ZooError(f"{path}: expected {images.width} x {images.height} pixels (w x h), got {size}")
            if kind == "PNG":
                _plain(image, content, path)
            image.load()
            array = _eight_bits(image, path)
    except _BROKEN as error:
        if isinstance(error, ZooError):
            raise
        raise ZooError(f"{path}: a corrupt image ({error}); save it again") from error
    if images.levels == 256:
        return array
    table = np.full(256, 255, np.uint8)
    table[_bytes_of(images)] = np.arange(images.levels)
    known = np.isin(array, _bytes_of(images))
    if not known.all():
        few = ", ".join(map(str, _bytes_of(images)[:4]))
        raise ZooError(
            f"{path}: the task's images have {images.levels} levels, shown as bytes {few}, …, 255; it holds the byte "
            f"{int(array[~known][0])}"
        )
    return table[array]


def _plain(image: Image.Image, content: bytes, path: Path) -> None:
    """A PNG of one picture with at most 8 bits per channel, or an error: of others Pillow gives the upper 8 bits or the
    first picture, and says nothing.

    Portable Network Graphics Specification, third edition, 2025, https://www.w3.org/TR/png-3/#11IHDR: the header is the
    first chunk; its width and height, 4 bytes each, are followed by the bit depth.
    """
    depth = content[24] if content[12:16] == b"IHDR" else None
    if depth not in (1, 2, 4, 8):
        found = "no header" if depth is None else f"{depth} bits per channel"
        raise ZooError(
            f"{path}: expected a PNG of at most 8 bits per channel, got {found}; nothing is cut here: convert the "
            "pixels as your model means them, and save 8-bit PNG files"
        )
    if (pictures := getattr(image, "n_frames", 1)) > 1:
        raise ZooError(
            f"{path}: expected one picture, got an animated PNG of {pictures}; save each in a PNG file of its own"
        )


def _eight_bits(image: Image.Image, path: Path) -> Array:
    """Grey or colour, uint8 `(H, W, C)`; transparent pictures are refused."""
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        if (rgba[..., 3] != 255).any():
            raise ZooError(f"{path}: has transparent pixels; save it without an alpha channel")
        return np.ascontiguousarray(rgba[..., :3])
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None]
    if image.mode not in ("RGB", "P"):
        raise ZooError(f"{path}: expected a grey or RGB picture, got mode {image.mode}")
    return np.asarray(image.convert("RGB"))


def _complaint(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if "allow_pickle" in text:
        return "holds Python objects (a pickle), which could run anything, or no array at all; save plain uint8 arrays"
    return f"broken, or not what its name says ({text})"
