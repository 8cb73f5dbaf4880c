"""Weights: a folder with `config.json` and `model.safetensors`, checked before a tensor is used.

The header of the safetensors file says what the tensors are (model, images, config) and how they came about
(training): one sha256 pins all of it. `config.json` repeats the former, with that sha256, for whoever reads JSON; it
says nothing else, and nothing that the header doesn't say. In format 1 the training stood in `config.json`, outside of
the sha256; such weights are read as before, and `python -m zoo_core.commands.upgrade_weights FOLDER` gives them the
header. A pin of format 1 is that of a file's content today (`content_sha256`), so it still holds.
A pickle is refused: opening one runs whatever code its author put in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from zoo_core import registry
from zoo_core.errors import WeightsError, ZooError
from zoo_core.files import atomic
from zoo_core.files import sha256_of as sha256_of
from zoo_core.specs import ImageSpec, ModelSpec
from zoo_core.step import Trainable
from zoo_core.version import __version__

FORMAT = 2
CONFIG, TENSORS = "config.json", "model.safetensors"
IDENTITY = ("model", "images", "config")
_PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle")


def save(model: Trainable, folder: str | Path, name: str, training: Mapping[str, Any] | None = None) -> Path:
    """Write `config.json` and `model.safetensors` into `folder`: all of it or, on any error, nothing.

    name: the registered model's name. training: anything worth keeping about how the weights came about (JSON).
    Tensors are stored contiguous, on the CPU, as they are. Returns the folder.
    """
    identity = {"model": name, "images": model.images.to_dict(), "config": model.config.to_dict()}
    known = {"format": FORMAT, "zoo": __version__, **identity, "training": dict(training or {})}
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    return write(Path(folder), tensors, known)


def write(folder: Path, tensors: Mapping[str, torch.Tensor], known: Mapping[str, Any]) -> Path:
    """The folder of these tensors, whose header says what is `known` of them; equal content gives equal bytes."""
    content = to_bytes(dict(tensors), metadata={"zoo": json.dumps(known, sort_keys=True, separators=(",", ":"))})
    config = {key: value for key, value in known.items() if key != "training"}
    config["sha256"] = hashlib.sha256(content).hexdigest()
    with atomic(folder) as temporary:
        temporary.mkdir()
        (temporary / TENSORS).write_bytes(content)
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

    sha256: what `model.safetensors`, or its content, must hash to (default: what config.json says). origin: what to
    call it in messages. expected: the model that it must be.
    """
    folder = Path(folder)
    origin = origin or str(folder)
    stated = _stated(folder, origin)
    found = _spec_of(stated["model"], origin, expected)
    images = ImageSpec.from_dict(stated["images"], f"{origin}: images")
    config = type(found.config).from_dict(stated["config"], f"{origin}: {type(found.config).__name__}")
    if sha256 not in (None, stated["sha256"]) and sha256 == content_sha256(folder):
        sha256 = stated["sha256"]
    check_sha256(folder / TENSORS, sha256 or stated["sha256"], origin)
    if sha256 not in (None, stated["sha256"]):
        raise WeightsError(
            f"{origin}: {CONFIG} says sha256 {stated['sha256']}, {TENSORS} has {sha256}; restore {CONFIG}"
        )
    read_config(folder, origin)
    model: Trainable = found.load_class()(images, config)
    _load_strictly(model, tensors_of(folder), origin)
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ZooError(f"{origin}: device {str(device)!r} cannot be used here ({reason}); try cpu") from error


def read_config(folder: Path, origin: str | None = None) -> dict[str, Any]:
    """What the weights say of themselves: format, zoo, model, images, config, sha256, training.

    `WeightsError` where `config.json` and the header differ. Whether the sha256 is right is seen by `load_folder`.
    """
    origin = origin or str(folder)
    stated, header = _stated(folder, origin), _header(folder, origin)
    if stated["format"] == 1:
        repeated, pinned = {key: stated[key] for key in IDENTITY}, header
    else:
        repeated, pinned = stated, {**header, "sha256": stated["sha256"]}
        stated = stated | {"training": pinned.pop("training", {})}
    if differ := [key for key in sorted(repeated | pinned) if repeated.get(key) != pinned.get(key)]:
        raise WeightsError(
            f"{origin}: {CONFIG} does not describe {TENSORS}, whose header differs in {', '.join(differ)}; "
            f"restore {folder / CONFIG}"
        )
    return stated


def content_sha256(folder: Path) -> str:
    """The sha256 of model, images, config and tensors, however they came about: two trainings may share it.

    It is what `model.safetensors` itself hashed to in format 1.
    """
    header = _header(folder, str(folder))
    identity = json.dumps({key: header[key] for key in IDENTITY}, sort_keys=True)
    return hashlib.sha256(to_bytes(tensors_of(folder), metadata={"zoo": identity})).hexdigest()


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder, unchecked."""
    with safe_open(folder / TENSORS, framework="pt", device="cpu") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)


def _header(folder: Path, origin: str) -> dict[str, Any]:
    """What `model.safetensors` itself says of its tensors."""
    path = folder / TENSORS
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get("zoo", "")
    except SafetensorError as error:
        raise WeightsError(f"{origin}: {path} is not a readable safetensors file: {error}; fetch it again") from error
    try:
        header = json.loads(text)
        if not header.keys() >= set(IDENTITY) or not isinstance(header.get("training", {}), dict):
            raise TypeError
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        raise WeightsError(
            f"{origin}: the header of {path} does not describe a model of zoo: expected metadata 'zoo', a JSON object "
            f"with {', '.join(IDENTITY)}; fetch the file again, or save the model by zoo_core.weights.save"
        ) from error
    return dict(header)


def _stated(folder: Path, origin: str) -> dict[str, Any]:
    """What `config.json` says, which may not be true."""
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
        config = dict(json.loads((folder / CONFIG).read_text()))
        newer = config["format"] > FORMAT
        if not all(isinstance(config.get(key, ""), str) for key in ("model", "sha256")):
            raise TypeError("model and sha256 must be strings")
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise WeightsError(f"{origin}: {folder / CONFIG} is not a zoo config ({what})") from error
    if newer:
        raise WeightsError(
            f"{origin}: written in format {config['format']} by zoo {config.get('zoo', '?')}; this zoo "
            f"({__version__}) reads up to format {FORMAT}; upgrade with: pip install -U zoo-core"
        )
    if missing := [key for key in (*IDENTITY, "sha256") if key not in config]:
        raise WeightsError(f"{origin}: {folder / CONFIG} lacks {', '.join(missing)}; it is not a zoo config")
    return config


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
    for name, own in model.state_dict().items():
        if name in tensors and tensors[name].dtype != own.dtype:
            raise WeightsError(f"{origin}: {name!r}: expected {own.dtype}, got {tensors[name].dtype}")
    try:
        model.load_state_dict(tensors, strict=True)  # a model may make room here for what it has stored
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{origin}: the tensors are not those of this model: {reason}") from error


def check_sha256(path: Path, expected: str, origin: str) -> None:
    """`WeightsError` unless `path` hashes to `expected`."""
    actual = sha256_of(path)
    if actual != expected:
        raise WeightsError(
            f"{origin}: {path} is truncated, tampered with or another file ({path.stat().st_size} bytes): "
            f"expected sha256 {expected}, got {actual}; delete it and fetch it again"
        )
