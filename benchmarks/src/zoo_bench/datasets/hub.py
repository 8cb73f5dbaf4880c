"""`hf:REPO[@REVISION]`: pictures of a data set on the Hugging Face Hub, or of a local folder of parquet files.

Read through Hugging Face `datasets`, an extra: pip install "zoo-bench[hf]". The first column of images is taken, the
first column of class labels, and a column `text` or `caption`. The repository's splits `train`, `validation` and `test`
are used; one that it lacks takes its tenth of `train`, by the sha256 of each file. Everything is held in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo_bench.datasets import pictures
from zoo_bench.datasets.pictures import SPLITS, Source
from zoo_core.errors import ZooError
from zoo_core.specs import DatasetSpec, ImageSpec

CAPTIONS = ("text", "caption")


def spec_of(source: Source) -> DatasetSpec:
    """The specification of a repository; its files are fetched into the cache of `datasets`."""
    found = fetch(source)
    train = found["train"]
    image, label, text = columns(source, train)
    side = (source.size, source.size) if source.size else None
    height, width = side or pictures.measure(_bytes(source, train[0][image], 0), f"{source.name}, image 0")
    names = tuple(train.features[label].names) if label else ()
    return DatasetSpec(
        name=source.name,
        summary=f"{source.place} on the Hugging Face Hub",
        target="zoo_bench.datasets.hub:read_split",
        images=ImageSpec(channels=source.channels, height=height, width=width, classes=len(names)),
        splits=dict.fromkeys(SPLITS, ""),
        licence=train.info.license or "see the repository",
        class_names=names,
        captions=text is not None,
        source=f"https://huggingface.co/datasets/{source.place}",
    )


def read_split(spec: DatasetSpec, split: str, data_dir: Path | None) -> pictures.Split:
    """uint8 images `(N, C, H, W)`, labels and captions as far as there are some."""
    source = pictures.parse(spec.name)
    found = fetch(source)
    rows = found[split if split in found else "train"]
    image, label, text = columns(source, rows)
    kept = list(range(len(rows)))
    if split == "train" or split not in found:
        kept = [i for i in kept if pictures.split_of(_bytes(source, rows[i][image], i), found) == split]
    if not kept:
        raise ZooError(f"{source.name}: no picture falls into split {split!r}")

    def items() -> Iterator[tuple[str, bytes]]:
        for i in kept:
            content = _bytes(source, rows[i][image], i)
            size = pictures.measure(content, f"{source.name}, image {i}")
            if not source.size and size != spec.images.shape[1:]:
                height, width = spec.images.shape[1:]
                raise ZooError(
                    f"{source.name}: pictures of different sizes: image {i} is {size[1]} x {size[0]}, the first is "
                    f"{width} x {height}; choose one with --size, e.g. --size 32"
                )
            yield f"{source.name}, image {i}", content

    pixels = pictures.decode_all(items(), len(kept), spec.images.shape, source)
    labels = [int(rows[i][label]) for i in kept] if label else None
    if labels and min(labels) < 0:
        raise ZooError(f"{source.name}: split {split!r} has images without a label (-1); leave labels out: labels=0")
    return pixels, labels, [str(rows[i][text]) for i in kept] if text else None


@functools.lru_cache(maxsize=4)
def fetch(source: Source) -> Any:
    """The repository as a dictionary of splits, images as the bytes of their files."""
    try:
        import datasets
    except ImportError as error:
        raise ZooError(
            f'{source.name}: needs Hugging Face datasets, which is not installed: pip install "zoo-bench[hf]"'
        ) from error
    repository, _, revision = source.place.partition("@")
    try:
        found = datasets.load_dataset(repository, revision=revision or None)
    except Exception as error:  # of very many kinds: network, permission, missing repository, unknown format
        text = " ".join(str(error).split())
        raise ZooError(f"{source.name}: datasets.load_dataset({repository!r}) failed: {text}") from error
    if "train" not in found:
        raise ZooError(f"{source.name}: it has no split 'train' but {', '.join(found)}")
    image = columns(source, found["train"])[0]
    return found.cast_column(image, datasets.Image(decode=False))


def columns(source: Source, rows: Any) -> tuple[str, str | None, str | None]:
    """The names of the columns of images, of labels and of captions."""
    kinds = {name: type(feature).__name__ for name, feature in rows.features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"] if source.labels is not False else []
    texts = [name for name in CAPTIONS if name in kinds]
    if not images:
        raise ZooError(
            f"{source.name}: no column of images; it has {', '.join(f'{k} ({v})' for k, v in kinds.items())}"
        )
    if source.labels and not labels:
        raise ZooError(f"{source.name}: no column of class labels; it has {', '.join(kinds)}")
    return images[0], labels[0] if labels else None, texts[0] if texts else None


def _bytes(source: Source, cell: Any, i: int) -> bytes:
    if cell is None:
        raise ZooError(f"{source.name}, image {i}: empty")
    content = cell.get("bytes")
    return bytes(content) if content is not None else Path(cell["path"]).read_bytes()
