"""Files of samples: a grid or arrays, and a big draw whose chunks are kept, so that an interrupted one goes on."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo_core.errors import ZooError
from zoo_core.files import atomic, sha256_of
from zoo_core.images import ImageSpec
from zoo_core.model import GenerativeModel
from zoo_core.sampling import Progress, draw


def draw_to(path: Path, model: GenerativeModel, request: dict[str, Any], progress: Progress, **condition: Any) -> None:
    """Draw into a file, one chunk in memory at a time; what is drawn stays in `PATH.shards/` until all of it is there.

    request: n, seed, chunk, options, and what else tells one draw from another, as JSON; the file holds it too. Chunks
    of another request are an error that says what differs; damaged ones are drawn again. condition: `labels`, `text`,
    as in `draw`.
    """
    n, chunk = request["n"], request["chunk"]
    keywords = {"seed": request["seed"], "chunk": chunk, "progress": progress, **condition, **request["options"]}
    notes = request | condition | {"options": json.dumps(request["options"])}
    if path.suffix == ".png" or n <= chunk:
        write(path, draw(model, n, **keywords), model.images, **notes)
        return
    folder = shards(path)
    _claim(folder, request)
    progress(sum(min(chunk, n - c * chunk) for c in kept(folder)))
    everything = set(range(math.ceil(n / chunk)))
    while missing := sorted(everything - kept(folder).keys()):  # again, if one was damaged in the meantime
        draw(model, n, **keywords, share=lambda _, compute: [_keep(folder, c, compute(c)) for c in missing])
    images = (torch.from_numpy(x) for file in kept(folder).values() for x in np.load(file))
    write(path, images, model.images, **notes)
    for file in sorted(folder.iterdir()):  # request.json last: without it nobody knows what the others are
        file.unlink()
    folder.rmdir()


def _claim(folder: Path, request: dict[str, Any]) -> None:
    """Make a folder of shards that of this request; `ZooError` where it is another's, or where nobody knows whose."""
    stated = folder / "request.json"
    held = request
    if stated.exists():
        try:
            held = dict(json.loads(stated.read_text()))
        except (ValueError, TypeError) as error:
            raise ZooError(f"{stated} is no JSON object ({error}); remove {folder}, or choose another --out") from error
    elif any(folder.glob("[!.]*")):
        held = {}
    for key in request | held:
        if held.get(key) != request.get(key):
            differ = f"{key} is {held.get(key)!r} there and {request.get(key)!r} here"
            raise ZooError(f"{folder} holds images of another request: {differ}; remove it, or choose another --out")
    with atomic(stated) as temporary:
        temporary.write_text(json.dumps(request))


def shards(path: Path) -> Path:
    """The folder of what is drawn for `path`, as long as that isn't complete."""
    return path.with_name(f"{path.name}.shards")


def kept(folder: Path) -> dict[int, Path]:
    """The undamaged chunks in a folder of shards, by number: files `CHUNK.SHA.npy`, SHA the start of their sha256."""
    files = [file for file in folder.glob("[0-9]*.*.npy") if file.name.split(".")[1] == sha256_of(file)[:16]]
    return dict(sorted((int(file.name.split(".")[0]), file) for file in files))


def _keep(folder: Path, c: int, x: Tensor) -> Tensor:
    """Chunk `c` is in its file, so nothing of it need stay in memory."""
    np.save(file := io.BytesIO(), x.numpy())
    with atomic(folder / f"{c:06}.{hashlib.sha256(file.getvalue()).hexdigest()[:16]}.npy") as temporary:
        temporary.write_bytes(file.getvalue())
    return torch.empty(0)


def write(path: str | Path, x: Iterable[Tensor], images: ImageSpec, **notes: Any) -> Path:
    """Write images as a grid (`.png`) or as arrays, atomically. `.npz`: `images`, uint8 `(N, H, W, C)`, `levels`,
    `sha256` (of the pixels in the order `(N, C, H, W)`) and `notes`. `.npy`: the images; the rest in `PATH.json`.

    x: uint8 `(N, C, H, W)`, or image after image, their number `n` then being among the notes.
    """
    path = writable(path)
    n = len(x) if isinstance(x, Tensor) else notes["n"]
    arrays = {name: np.asarray(value) for name, value in {"levels": images.levels, **notes}.items()}
    with atomic(path) as temporary, temporary.open("wb") as file:
        if path.suffix == ".png":
            grid(torch.stack(list(x)), images).save(file, format="PNG")
        elif path.suffix == ".npy":
            arrays["sha256"] = _stream(file, x, n, images)
            with atomic(path.with_name(f"{path.name}.json")) as beside:
                beside.write_text(json.dumps({name: value.tolist() for name, value in arrays.items()}))
        else:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                with archive.open("images.npy", "w", force_zip64=True) as member:
                    arrays["sha256"] = _stream(member, x, n, images)
                for name, value in arrays.items():
                    with archive.open(f"{name}.npy", "w") as member:
                        np.lib.format.write_array(member, value, allow_pickle=False)
    return path


def _stream(file: IO[bytes], x: Iterable[Tensor], n: int, images: ImageSpec) -> np.ndarray[Any, Any]:
    """Write an array `(n, H, W, C)` image by image; returns the sha256 of its pixels as `(n, C, H, W)`."""
    shape, digest = (n, images.height, images.width, images.channels), hashlib.sha256()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})  # type: ignore
    for image in x:
        digest.update(image.contiguous().numpy().tobytes())
        file.write(image.permute(1, 2, 0).contiguous().numpy().tobytes())  # (C, H, W) -> (H, W, C)
    return np.asarray(digest.hexdigest())


def writable(path: str | Path) -> Path:
    """`path`, if images can be written there: called before the work that would otherwise be lost."""
    path = Path(path)
    if path.suffix not in (".png", ".npz", ".npy"):
        raise ZooError(f"{path}: expected a name that ends in .png (a grid), .npz or .npy (arrays)")
    if path.is_dir():
        raise ZooError(f"{path} is a folder; give a file name")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise ZooError(f"cannot write into {path.parent}: permission denied; choose another --out")
    return path


def grid(x: Tensor, images: ImageSpec, *, columns: int | None = None, cell: int = 32) -> Image.Image:
    """Images side by side, each enlarged by a whole factor to at least `cell` pixels, with a thin line between them."""
    if images.channels not in (1, 3):
        raise ZooError(f"a picture has 1 or 3 channels, these images have {images.channels}; write .npz instead")
    columns = columns or math.ceil(math.sqrt(len(x)))
    scale = max(1, math.ceil(cell / max(images.height, images.width)))
    pixels = (x.cpu().to(torch.float64) * (255 / (images.levels - 1))).round().to(torch.uint8).numpy()
    pixels = pixels.repeat(3 // images.channels, 1).repeat(scale, 2).repeat(scale, 3).transpose(0, 2, 3, 1)
    tiles = np.pad(pixels, ((0, -len(x) % columns), (1, 0), (1, 0), (0, 0)), constant_values=110)  # (N, H, W, 3)
    rows = [np.concatenate(row, axis=1) for row in tiles.reshape(-1, columns, *tiles.shape[1:])]
    return Image.fromarray(np.pad(np.concatenate(rows), ((0, 1), (0, 1), (0, 0)), constant_values=110))
