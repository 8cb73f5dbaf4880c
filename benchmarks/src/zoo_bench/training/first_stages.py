"""Training in stages: the recipe's `init` fills submodules of a new model with weights that were trained before.

    init = {first_stage = "vqvae_codes.fashion"}        # attribute of the model = name of weights, or their folder

The submodule is a model itself, of the class, config and images of those weights, which are loaded strictly. The new
model's weights hold them again, so nobody needs the first stage's to use it. Whether they go on learning is the model's
own business. A model that cannot be trained without one names its attribute: `first_stages = ("first_stage",)`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo_core import pretrained, weights
from zoo_core.errors import ZooError, unknown
from zoo_core.step import Trainable


def fill(model: Trainable, init: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Load `init` into the model's submodules. Returns, for each, its `weights` and their `sha256`.

    `ZooError` for a submodule that the model lacks, for weights that are not there or are of another model, config or
    images, and for a first stage that the model needs and `init` does not name.
    """
    name = type(model).__name__
    stages = {key: child for key, child in model.named_children() if isinstance(child, Trainable)}
    if init and not stages:
        raise ZooError(
            f"{name} has no part that is trained before it, and init names {', '.join(map(repr, sorted(init)))}: "
            "leave out --init, or init in the recipe"
        )
    if strangers := sorted(init.keys() - stages.keys()):
        hint = f" (the parts of a {name} that are models themselves)"
        raise unknown("first stage", strangers[0], stages, hint)
    for needed in getattr(model, "first_stages", ()):
        if needed not in init:
            raise ZooError(
                f"{name} trains on top of a first stage, and the recipe names none: expected init = {{{needed} = …}} "
                f"(or --init {needed}=…), a name of weights or a folder of them"
            )
    return {key: _load(stages[key], key, source) for key, source in init.items()}


def pinned(init: Mapping[str, str]) -> dict[str, str]:
    """The sha256 of each first stage, as far as it can be told on this machine and without opening it."""
    found = {}
    for key, source in init.items():
        try:
            found[key] = _sha256(pretrained.find(source)[0]) if not source.startswith("hf:") else ""
        except (ZooError, OSError, ValueError, KeyError):
            continue
    return {key: sha256 for key, sha256 in found.items() if sha256}


def told(training: Mapping[str, Any]) -> dict[str, Any]:
    """What a card says of the first stages, by what the weights say of their training."""
    stages = training.get("init", {})
    return {"init": {key: stage["sha256"] for key, stage in stages.items()}} if stages else {}


def _load(stage: Trainable, key: str, source: str) -> dict[str, str]:
    """Fill one submodule, which `init` calls `key`, with the weights `source`."""
    where, instead = f"init.{key} = {source!r}", f"and give its folder: --init {key}=PATH"
    if not source:
        raise ZooError(f"{where}: expected a name of weights (MODEL.TAG) or a folder of them, got nothing")
    try:
        folder, sha256, expected = pretrained.find(source)
        found = weights.load_folder(folder, sha256=sha256, origin=source, expected=expected)
    except ZooError as error:
        base = source.partition(".")[0]
        advice = "" if "/" in source else f"; train it (zoo train {base}) {instead}"
        raise type(error)(f"{where}: {error}{advice}") from error
    if type(found) is not type(stage):
        raise ZooError(f"{where}: expected weights of {type(stage).__name__}, got those of {type(found).__name__}")
    if found.images != stage.images:
        raise ZooError(
            f"{where}: was trained on images of {found.images}, and these are of {stage.images}; "
            f"train a first stage on this data set {instead}"
        )
    here, there = _flat(stage.config.to_dict()), _flat(found.config.to_dict())
    if differ := [key for key in sorted(here | there) if here.get(key) != there.get(key)]:
        shown = ", ".join(f"{key} is {there.get(key)!r} there and {here.get(key)!r} here" for key in differ[:3])
        raise ZooError(
            f"{where}: has another config: {shown}; make [config.{key}] of the recipe equal to the config of these "
            f"weights, or --set {key}.{differ[0]}={json.dumps(there.get(differ[0]))}"
        )
    stage.load_state_dict(found.state_dict())
    return {"weights": source, "sha256": _sha256(folder)}


def _sha256(folder: Path) -> str:
    """That of `model.safetensors`, by what lies beside it; `load_folder` sees whether it is true."""
    return str(json.loads((folder / weights.CONFIG).read_text())["sha256"])


def _flat(config: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{path}{key}.") if isinstance(value, Mapping) else {f"{path}{key}": value}
    return flat
