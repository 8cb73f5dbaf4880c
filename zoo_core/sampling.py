"""Draw many images in pinned chunks (`chunks.py`), and write them as a grid or an array."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo_core.chunks import CHUNK, Share, generator_of, in_turn
from zoo_core.errors import ZooError
from zoo_core.images import ImageSpec, Labels, Text
from zoo_core.likelihood import evaluating
from zoo_core.model import GenerativeModel


def draw(
    model: GenerativeModel,
    n: int,
    *,
    seed: int = 0,
    labels: Labels = None,
    text: Text = None,
    chunk: int = CHUNK,
    progress: Callable[[int], Any] = lambda images: None,
    share: Share = in_turn,
    **options: Any,
) -> Tensor:
    """`n` images of `model`, uint8 `(n, C, H, W)` on the CPU.

    labels: int64 `(n,)`. text: n strings. progress: called with the number of images just drawn. share: who computes
    which chunk. options: the model's own.
    """
    model.check_request(n, labels, text)

    def images(c: int) -> Tensor:
        rows = slice(c * chunk, min((c + 1) * chunk, n))
        given: dict[str, Any] = {} if labels is None else {"labels": labels[rows].to(model.device)}
        given |= {} if text is None else {"text": text[rows]}
        generator = generator_of(c, seed, model.device)
        x = model.sample(rows.stop - rows.start, generator=generator, **given, **options).cpu()
        progress(len(x))
        return x

    with evaluating(model):
        return torch.cat(share(math.ceil(n / chunk), images))


def grid(x: Tensor, images: ImageSpec, *, columns: int | None = None, cell: int = 32) -> Image.Image:
    """Images side by side, each enlarged by a whole factor to at least `cell` pixels, with a thin line between them."""
    columns = columns or math.ceil(math.sqrt(len(x)))
    rows = math.ceil(len(x) / columns)
    scale = max(1, math.ceil(cell / max(images.height, images.width)))
    height, width = images.height * scale + 1, images.width * scale + 1
    pixels = (x.cpu().to(torch.float64) * (255 / (images.levels - 1))).round().to(torch.uint8).numpy()
    if images.channels == 1:
        pixels = pixels.repeat(3, axis=1)
    elif images.channels != 3:
        raise ZooError(f"a picture has 1 or 3 channels, these images have {images.channels}; write .npz instead")
    pixels = pixels.repeat(scale, axis=2).repeat(scale, axis=3).transpose(0, 2, 3, 1)  # (N, H, W, 3)
    canvas = np.full((rows * height + 1, columns * width + 1, 3), 110, dtype=np.uint8)
    for i, image in enumerate(pixels):
        top, left = i // columns * height + 1, i % columns * width + 1
        canvas[top : top + height - 1, left : left + width - 1] = image
    return Image.fromarray(canvas)


def write(path: str | Path, x: Tensor, images: ImageSpec, **notes: Any) -> Path:
    """Write images as a grid (`.png`) or as arrays (`.npz`: `images`, uint8 `(N, H, W, C)`, `notes`), atomically."""
    path = writable(path)
    with atomic(path) as temporary:
        if path.suffix == ".png":
            grid(x, images).save(temporary, format="PNG")
        else:
            arrays = {"images": x.permute(0, 2, 3, 1).contiguous().numpy(), "levels": np.int64(images.levels), **notes}
            with temporary.open("wb") as file:
                np.savez_compressed(file, **arrays)
    return path


def writable(path: str | Path) -> Path:
    """`path`, if images can be written there: called before the work that would otherwise be lost."""
    path = Path(path)
    if path.suffix not in (".png", ".npz"):
        raise ZooError(f"{path}: expected a name that ends in .png (a grid) or .npz (arrays)")
    if path.is_dir():
        raise ZooError(f"{path} is a folder; give a file name")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise ZooError(f"cannot write into {path.parent}: permission denied; choose another --out")
    return path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file that becomes `path` when the block ends well; on any error nothing is left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # not the temporary file's name, or none at all
        raise
