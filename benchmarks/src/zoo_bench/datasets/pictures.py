"""Picture files of any kind as uint8 images of one size: what `folder:` and `hf:` data sets share.

A picture is turned upright as its EXIF data say, laid on white where it is transparent, reduced to 8 bits where it has
16, and taken as its first frame where it moves. With a `size`, its middle square is cut out and scaled to `size x size`
by Lanczos' filter; without one, all pictures must be of one size. Colour unless `grey`.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zoo_core.errors import ZooError, unknown

Array = np.ndarray[Any, Any]
Split = tuple[Array, list[int] | None, list[str] | None]  # images, labels, captions

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MAX_PIXELS = 50_000_000  # of one file, before it is decoded
MAX_BYTES = 4 * 2**30  # of one split in memory
MAX_SIDE = 4096
SPLITS = ("train", "validation", "test")
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Source:
    """The parts of a name such as `folder:photos?size=32&grey=1`.

    size: side of the images in pixels; 0 keeps the files' own. grey: one channel. labels: None takes them where there
    are some, True asks for them, False leaves them out.
    """

    kind: str
    place: str
    size: int = 0
    grey: bool = False
    labels: bool | None = None

    @property
    def name(self) -> str:
        """The canonical name, from which everything here can be read back."""
        query = {"size": self.size or None, "grey": self.grey or None, "labels": self.labels}
        given = {key: int(value) for key, value in query.items() if value is not None}
        return f"{self.kind}:{self.place}" + (f"?{urlencode(given)}" if given else "")

    @property
    def channels(self) -> int:
        return 1 if self.grey else 3


def parse(name: str) -> Source:
    """The source that a name describes; `ZooError` where it is no such name."""
    kind, _, rest = name.partition(":")
    place, question, query = rest.partition("?")
    if not place:
        raise ZooError(f"data set {name!r}: expected {kind}:PLACE, e.g. {kind}:photos?size=32&grey=1")
    place = place.rstrip("/") or "/"
    values: dict[str, Any] = {}
    pairs = parse_qsl(query, keep_blank_values=True)
    if question and not pairs:
        raise ZooError(f"data set {name!r}: expected KEY=VALUE behind '?', e.g. size=32")
    for key, value in pairs:
        if key not in ("size", "grey", "labels"):
            raise unknown(f"option of {kind}:{place}", key, ["size", "grey", "labels"])
        if key == "size":
            if not value.isdecimal() or not 1 <= int(value) <= MAX_SIDE:
                raise ZooError(f"data set {name!r}: expected a size of 1 to {MAX_SIDE} pixels, got {value!r}")
            values[key] = int(value)
        elif value not in ("0", "1"):
            raise ZooError(f"data set {name!r}: expected {key}=0 or {key}=1, got {key}={value}")
        else:
            values[key] = value == "1"
    return Source(kind, place, **values)


def measure(content: bytes, origin: str) -> tuple[int, int]:
    """`(height, width)` of a picture as it is seen, from its header; `ZooError` if it is none, or huge."""
    try:
        with _open(content) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ZooError(
                    f"{origin}: {width} x {height} pixels; a picture may have {MAX_PIXELS:,} at most: make it smaller"
                )
            turned = image.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 swap the sides
    except _BROKEN as error:
        if isinstance(error, ZooError):
            raise
        raise ZooError(f"{origin}: {_complaint(error)}") from error
    return (width, height) if turned else (height, width)


def decode(content: bytes, origin: str, source: Source) -> Array:
    """uint8 `(C, H, W)`."""
    measure(content, origin)
    try:
        with _open(content) as image:
            image.load()
            picture = _eight_bits(ImageOps.exif_transpose(image))
    except _BROKEN as error:
        raise ZooError(f"{origin}: {_complaint(error)}") from error
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    picture = picture.convert("L" if source.grey else "RGB")
    if source.size:
        picture = ImageOps.fit(picture, (source.size, source.size), Image.Resampling.LANCZOS)
    array = np.asarray(picture)
    return array[None] if source.grey else array.transpose(2, 0, 1)


def decode_all(items: Iterable[tuple[str, bytes]], n: int, shape: Sequence[int], source: Source) -> Array:
    """uint8 `(n, C, H, W)` of n pictures, all of `shape`; the set must fit into memory."""
    expected = n * int(np.prod(shape))
    if expected > MAX_BYTES:
        raise ZooError(
            f"{source.name}: {n:,} images of {'x'.join(map(str, shape))} are {expected / 2**30:.1f} GiB, but a split "
            f"is held in memory, {MAX_BYTES // 2**30} GiB at most; take a smaller size (--size)"
        )
    pixels = np.empty((n, *shape), np.uint8)
    for i, (origin, content) in enumerate(items):
        pixels[i] = decode(content, origin, source)
    return pixels


def split_of(content: bytes, there: Iterable[str] = ("train",)) -> str:
    """The split of a picture that has none of its own: a tenth is validation, a tenth test, by the file's sha256.

    there: splits that the set brings itself; nothing is moved into those.
    """
    split = {0: "test", 1: "validation"}.get(int.from_bytes(hashlib.sha256(content).digest()[:8], "big") % 10, "train")
    return "train" if split in there else split


def _open(content: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is the tighter limit
        return Image.open(io.BytesIO(content), formats=FORMATS)


def _complaint(error: BaseException) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"a huge picture; one may have {MAX_PIXELS:,} pixels at most: make it smaller"
    if isinstance(error, UnidentifiedImageError):
        return f"not a picture ({', '.join(FORMATS)}); repair or remove the file"
    return f"a corrupt image ({error}); repair or remove the file"


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey pictures of 16 bits by their higher byte; Pillow would cut them off at 255."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    return image
