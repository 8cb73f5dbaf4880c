"""Extractors' weights: found, checked by sha256 before anything is read from them, or named as missing.

Small classifiers ship inside the wheel. Everything else lies in a folder `extractors` below `--data-dir` or `ZOO_DATA`,
the cache or a system folder, or is fetched. Nothing ever stands in for a file that is not there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from torch import Tensor

from zoo_bench.datasets import files
from zoo_core.errors import WeightsError, ZooError
from zoo_core.specs import ExtractorSpec

FOLDER = "extractors"


_given: ContextVar[Path | None] = ContextVar("given", default=None)


@contextlib.contextmanager
def searching(data_dir: str | Path | None) -> Iterator[None]:
    """Weights are looked for below `data_dir` (`--data-dir`), in place of `ZOO_DATA`."""
    token = _given.set(Path(data_dir) if data_dir is not None else None)
    try:
        yield
    finally:
        _given.reset(token)


def _data_dir() -> Path | None:
    environment = os.environ.get("ZOO_DATA")
    return _given.get() or (Path(environment) if environment else None)


class MissingWeights(WeightsError):
    """An extractor's weights that are nowhere. `file` is wanted, with this `sha256`; `looked` says where it was sought.

    A metric that needs them is skipped; nothing else stops.
    """

    def __init__(self, extractor: str, file: str, sha256: str, looked: str) -> None:
        self.extractor, self.file, self.sha256, self.looked = extractor, file, sha256, looked
        super().__init__(
            f"extractor {extractor!r}: its weights {file} are not here (looked in {looked}); wanted: "
            f"{f'sha256 {sha256}' if re.match('[0-9a-f]{8}', sha256) else sha256}"
        )

    def __reduce__(self) -> tuple[Any, ...]:  # errors travel between processes
        return MissingWeights, (self.extractor, self.file, self.sha256, self.looked)


def shipped(spec: ExtractorSpec) -> dict[str, Tensor]:
    """The tensors of a classifier in this wheel; `WeightsError` unless the file is the pinned one."""
    path = Path(__file__).parent / "extractor_weights" / f"{spec.name}.safetensors"
    if not path.is_file():
        raise MissingWeights(spec.name, path.name, spec.sha256, f"the installed package, {path.parent}")
    content = checked(spec, path)
    try:
        return parse(content)
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a safetensors file ({error})") from error


def find(
    spec: ExtractorSpec,
    names: Sequence[str],
    *,
    fetched_from: str = "",
    published: str = "",
    also: str = "",
    more: Sequence[Path] = (),
) -> Path:
    """The file of an extractor's weights, by any of its names; `MissingWeights` where it is nowhere.

    fetched_from: where it is got from, once, into the cache. published: where the user gets it. more: folders to look
    in besides. also: what else was tried, for the message.
    """
    folders = [*(root / FOLDER for root in files.roots(_data_dir())), *more]
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    looked = [also] * bool(also) + [str(folder) for folder in folders]
    if fetched_from and _offline():
        looked.append(f"not fetched from {fetched_from}, because HF_HUB_OFFLINE is set")
    elif fetched_from:
        path, trouble = _fetched(fetched_from, files.cache() / FOLDER / names[0], spec.sha256)
        if not trouble:
            return path
        looked.append(trouble)
    if published:
        looked.append(f"not fetched by itself from {published}")
    raise MissingWeights(spec.name, f"{FOLDER}/{names[0]}", spec.sha256, "; ".join(looked))


def folder() -> Path:
    """Where weights lie that do not ship: the first folder `extractors` that is there, else the cache's."""
    places = [root / FOLDER for root in files.roots(_data_dir())]
    return next((place for place in places if place.is_dir()), files.cache() / FOLDER)


@functools.lru_cache(maxsize=8)
def _fetched(url: str, path: Path, sha256: str) -> tuple[Path, str]:
    """The file fetched, or why not; a process that has failed once does not try again."""

    def right(content: bytes) -> bool:
        return hashlib.sha256(content).hexdigest() == sha256

    try:
        return files.fetch(url, path, right, what=path.name, advice="put it there yourself"), ""
    except ZooError as error:
        return path, str(error)


def _offline() -> bool:
    """Whether the user forbids downloads, by the same variable as for the Hub's client."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def torch_hub() -> list[Path]:
    """Where torch keeps what other programs have fetched."""
    return [Path(torch.hub.get_dir()) / "checkpoints"]


def checked(spec: ExtractorSpec, path: Path) -> bytes:
    """The content of a file that hashes to the pinned sha256: what was checked is what is read."""
    content = path.read_bytes()
    actual = hashlib.sha256(content).hexdigest()
    if actual != spec.sha256:
        raise WeightsError(
            f"{path}: sha256 is {actual}, expected {spec.sha256}; these are not the weights of extractor "
            f"{spec.name!r}: the file is damaged, tampered with or another one; put the published one there"
        )
    return content


def unpickled(spec: ExtractorSpec, path: Path) -> dict[str, Tensor]:
    """The tensors of a checked .pth file, read by torch's restricted unpickler, which runs no code."""
    content = checked(spec, path)
    try:
        tensors: dict[str, Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different one for each way of being broken
        raise WeightsError(f"{path}: cannot be read as weights ({error})") from error
    return tensors
