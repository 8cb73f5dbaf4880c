"""Weights: a folder with `config.json` and `model.safetensors`, checked before a tensor is used.

The safetensors file carries the model's name, images and config in its own header, so that one sha256 pins what the
numbers are and what they are for. A pickle is refused: opening one runs whatever code its author put in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from zoo_core import registry
from zoo_core.errors import WeightsError, ZooError, did_you_mean
from zoo_core.files import atomic
from zoo_core.files import sha256_of as sha256_of
from zoo_core.specs import ImageSpec, ModelSpec
from zoo_core.step import Trainable
from zoo_core.version import __version__

FORMAT = 1
CONFIG, TENSORS = "config.json", "model.safetensors"
_PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle")


def save(model: Trainable, folder: str | Path, name: str, training: Mapping[str, Any] | None = None) -> Path:
    """Write `config.json` and `model.safetensors` into `folder`: all of it or, on any error, nothing.

    name: the registered model's name. training: anything worth keeping about how the weights came about (JSON).
    Tensors are stored contiguous, on the CPU, as they are. Returns the folder.
    """
    folder = Path(folder)
    identity = {"model": name, "images": model.images.to_dict(), "config": model.config.to_dict()}
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    with atomic(folder) as temporary:
        temporary.mkdir()
        content = to_bytes(tensors, metadata={"zoo": json.dumps(identity, sort_keys=True)})
        (temporary / TENSORS).write_bytes(content)
        config = {
            "format": FORMAT,
            "zoo": __version__,
            **identity,
            "sha256": sha256_of(temporary / TENSORS),
            "training": dict(training or {}),
        }
        (temporary / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    return folder


def load_folder(
    folder: str | Path,
    *,
    device: torch.device | str = "cpu",
    sha256: str | None = None,
    origin: str | None = None,
    expected: ModelSpec | None = None,
) -> Trainable:
    """The model saved in `folder`, in evaluation mode on `device`; `WeightsError` if anything about it is not right.

    sha256: what `model.safetensors` must hash to (default: what its config.json says). origin: what to call it in
    messages. expected: the model that it must be.
    """
    folder = Path(folder)
    origin = origin or str(folder)
    written = read_config(folder, origin)
    identity, stated = {key: written[key] for key in ("model", "images", "config")}, written["sha256"]
    found = _spec_of(identity["model"], origin, expected)
    images = ImageSpec.from_dict(identity["images"], f"{origin}: images")
    config = type(found.config).from_dict(identity["config"], f"{origin}: {type(found.config).__name__}")
    path = folder / TENSORS
    check_sha256(path, sha256 or stated, origin)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = (file.metadata() or {}).get("zoo")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise WeightsError(f"{origin}: {path} is not a readable safetensors file: {error}; fetch it again") from error
    if not _describes(identity, header):
        raise WeightsError(
            f"{origin}: {CONFIG} does not describe {TENSORS} (its header differs); restore {folder / CONFIG}"
        )
    model: Trainable = found.load_class()(images, config)
    _load_strictly(model, tensors, origin)
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ZooError(f"{origin}: device {str(device)!r} cannot be used here ({reason}); try cpu") from error


def _describes(identity: Mapping[str, Any], header: str | None) -> bool:
    """Whether the safetensors file's own header names the same model, images and config."""
    try:
        return header is not None and bool(json.loads(header) == identity)
    except json.JSONDecodeError:
        return False


def read_config(folder: Path, origin: str | None = None) -> dict[str, Any]:
    """What `config.json` says: format, zoo, model, images, config, sha256, training."""
    origin = origin or str(folder)
    if folder.suffix in _PICKLES and not folder.is_dir():
        raise WeightsError(_refuse_pickle(origin))
    if folder.suffix == ".safetensors":
        raise WeightsError(f"{origin}: give the folder that holds {CONFIG} and {TENSORS}, not the file")
    if not folder.is_dir():
        raise WeightsError(f"{origin}: no such folder; expected one with {CONFIG} and {TENSORS}")
    for name in (CONFIG, TENSORS):
        if not (folder / name).is_file():
            if (folder / "weights" / CONFIG).is_file():
                raise WeightsError(f"{origin} is the folder of a run; its weights are in {folder / 'weights'}")
            pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
            if pickles:
                raise WeightsError(_refuse_pickle(f"{origin}: {pickles[0]}"))
            raise WeightsError(f"{origin}: {name} is missing; expected {CONFIG} and {TENSORS} in {folder}")
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text())
        version = config["format"]
        if version > FORMAT:
            raise WeightsError(
                f"{origin}: written in format {version} by zoo {config.get('zoo', '?')}; this zoo "
                f"({__version__}) reads up to format {FORMAT}; upgrade with: pip install -U zoo-core"
            )
        if missing := [key for key in ("model", "images", "config", "sha256") if key not in config]:
            raise WeightsError(f"{origin}: {folder / CONFIG} lacks {', '.join(missing)}; it is not a zoo config")
        if not isinstance(config["model"], str) or not isinstance(config["sha256"], str):
            raise TypeError("model and sha256 must be strings")
        return config
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{origin}: {folder / CONFIG} is not a zoo config ({type(error).__name__}: {error})"
        ) from error


def _refuse_pickle(what: str) -> str:
    return (
        f"{what} is a pickle, and opening a pickle runs whatever code it holds; zoo reads only safetensors. "
        "Load it where you trust it, put its tensors into the model by load_state_dict, and call zoo_core.weights.save"
    )


def _spec_of(name: str, origin: str, expected: ModelSpec | None) -> ModelSpec:
    if expected is not None and name != expected.name:
        raise WeightsError(f"{origin}: these are weights of {name!r}, not of {expected.name!r}")
    try:
        return expected or registry.spec(name)
    except ZooError as error:
        raise WeightsError(
            f"{origin}: these are weights of {name!r}, which no installed plugin offers: {error}"
        ) from error


def _load_strictly(model: Trainable, tensors: dict[str, torch.Tensor], origin: str) -> None:
    own = model.state_dict()
    for name in own:
        if name not in tensors:
            raise WeightsError(f"{origin}: tensor {name!r} is missing{did_you_mean(name, tensors)}")
    for name, tensor in tensors.items():
        if name not in own:
            raise WeightsError(f"{origin}: tensor {name!r} belongs to no part of {type(model).__name__}")
        if tensor.dtype != own[name].dtype:
            raise WeightsError(f"{origin}: {name!r}: expected {own[name].dtype}, got {tensor.dtype}")
    try:
        model.load_state_dict(tensors, strict=True)  # a model may make room here for what it has stored
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{origin}: a tensor is not of the expected shape: {reason}") from error


def check_sha256(path: Path, expected: str, origin: str) -> None:
    """`WeightsError` unless `path` hashes to `expected`."""
    actual = sha256_of(path)
    if actual != expected:
        raise WeightsError(
            f"{origin}: {path} is truncated, tampered with or another file ({path.stat().st_size} bytes): "
            f"expected sha256 {expected}, got {actual}; delete it and fetch it again"
        )
