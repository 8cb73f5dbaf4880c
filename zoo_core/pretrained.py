"""Weights by name: published ones, in a plugin's wheel or on the Hub, and any folder on disk."""

from __future__ import annotations

import importlib.resources
import os
from pathlib import Path

import torch

from zoo_core import registry, weights
from zoo_core.errors import WeightsError, ZooError
from zoo_core.model import GenerativeModel
from zoo_core.specs import ModelSpec, Pretrained


def load(
    name: str | os.PathLike[str], *, device: torch.device | str = "cpu", sha256: str | None = None
) -> GenerativeModel:
    """A model with its weights, in evaluation mode.

    name: `model.tag` (published weights, in the plugin's wheel or on the Hub), a folder on disk (a string with a path
    separator: `./runs/made`), or `hf:org/repo@revision`. sha256: what the file, or its content, must hash to;
    published tags pin it themselves. Weights are checked before a tensor is used; `WeightsError` says what is wrong
    with them. Those of an encoder or a classifier are a `Trainable`, whatever the annotation promises everyone else.
    """
    folder, pinned, expected = find(name)
    if pinned and sha256 not in (None, pinned) and sha256 != weights.content_sha256(folder):
        raise ZooError(f"{name}: its published sha256 is {pinned}, not {sha256}")
    sha256 = pinned or sha256
    return weights.load_folder(folder, device=device, sha256=sha256, origin=str(name), expected=expected)  # type: ignore


def find(name: str | os.PathLike[str]) -> tuple[Path, str | None, ModelSpec | None]:
    """Where the weights `name` are: their folder, the sha256 pinned for them, and the model they must be of.

    Fetches them from the Hub if need be; reads nothing else.
    """
    if isinstance(name, os.PathLike):
        return Path(name), None, None
    if not isinstance(name, str):
        raise ZooError(f"expected the name of weights or a folder, got {type(name).__name__}")
    if name.startswith("hf:"):
        return download(name), None, None
    if os.sep in name or "/" in name:
        return Path(name), None, None
    base, _, tag = name.partition(".")
    if Path(name).exists() and base not in registry.models.offers():
        raise ZooError(f"{name!r} is no model; for the folder or file of that name write ./{name}")
    found = registry.models.get(base)
    if not tag:
        tags = [f"{base}.{entry.tag}" for entry in found.pretrained]
        known = f"there is {', '.join(tags)}" if tags else f"it has none yet (zoo train {base})"
        raise ZooError(f"{base!r} is a model without weights: {known}; create({base!r}, images) makes a new one")
    entry = registry.find_pretrained(found, tag)
    folder = download(entry.source) if entry.source.startswith("hf:") else packaged(found, entry)
    return folder, entry.sha256, found


def packaged(found: ModelSpec, entry: Pretrained) -> Path:
    """The folder of weights that ship inside a plugin's wheel."""
    folder = Path(str(importlib.resources.files(found.package))) / entry.source
    if not folder.is_dir():
        raise WeightsError(f"{found.name}.{entry.tag}: {folder} is missing; reinstall the package {found.package}")
    return folder


def download(source: str) -> Path:
    """Fetch `hf:org/repo[@revision]` into the Hub cache and return its folder; `HF_*` variables are respected."""
    import httpx2
    from huggingface_hub import errors, snapshot_download

    repository, _, revision = source.removeprefix("hf:").partition("@")
    reasons: dict[type[Exception], str] = {  # the first that fits
        errors.HFValidationError: "not a Hub repository name; expected hf:organisation/name@revision",
        errors.RepositoryNotFoundError: "no such repository on the Hub, or it is private (hf auth login)",
        errors.RevisionNotFoundError: f"the repository has no revision {revision!r}",
        errors.LocalEntryNotFoundError: "not in the cache, and the Hub cannot be reached (HF_HUB_OFFLINE?)",
        errors.OfflineModeIsEnabled: "not in the cache, and the Hub cannot be reached (HF_HUB_OFFLINE?)",
        errors.HfHubHTTPError: "the Hub answered with an error: {}; try again later",
        httpx2.HTTPError: "the Hub answered with an error: {}; try again later",
    }
    try:
        return Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=[weights.CONFIG, weights.TENSORS])
        )
    except tuple(reasons) as error:
        reason = next(text for kind, text in reasons.items() if isinstance(error, kind))
        raise WeightsError(f"{source}: {reason.format(error)}") from error
