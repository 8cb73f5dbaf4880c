"""A recipe: all that the harness reads to train a model. TOML, in the package of the plugin, one file per tag.

`zoo train made.digits` reads `recipes/made.digits.toml` of the plugin that offers `made`; `zoo train made --data X`
looks for `made.X.toml` and falls back on the model's digits recipe. Horizons count images seen, never steps or epochs.
"""

from __future__ import annotations

import importlib.resources
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from zoo_bench.datasets import load as datasets
from zoo_bench.training import first_stages
from zoo_core import registry
from zoo_core.config import Config
from zoo_core.errors import ZooError, unknown
from zoo_core.specs import ModelSpec

DEFAULT_DATA = "digits"


@dataclass(frozen=True, kw_only=True)
class Recipe(Config):
    """How to train one model on one data set.

    images: the budget, images seen (a full pass counts its images). batch: images per step, over all processes.
    lr: handed to the model's `optimizers(lr)`. schedule: a factor on each group's own rate; `warmup`: images over which
    it rises linearly. ema: half-life of the moving average of weights, in images; 0 for none. ema_ramp: that half-life
    is at most this share of the images seen so far (`average.py`); 0 for no such limit. clip: largest norm of a group's
    gradient; 0 for none. micro_batch: most images in one forward pass; 0 for all. trained_with: the encoders that the
    loss looks through (`("lpips", "dinov2")`): numbers by them flatter the model. init: submodules of the model that
    begin with weights trained before, `(("first_stage", "vqvae_codes.fashion"),)`; a table in TOML (`first_stages.py`).
    """

    model: str
    data: str
    images: int
    batch: int = 100
    lr: float = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    ema: int = 0
    ema_ramp: float = 0.05
    precision: Literal["no", "bf16", "fp16"] = "no"
    clip: float = 0.0
    micro_batch: int = 0
    seed: int = 0
    trained_with: tuple[str, ...] = ()
    init: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("images", "batch"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        for name in ("warmup", "ema", "ema_ramp", "clip", "micro_batch"):
            self.expect(name, getattr(self, name) >= 0, "0 (none) or more")
        self.expect("lr", self.lr > 0, "a number above 0")

    def to_dict(self) -> dict[str, Any]:
        """A field that came later only where it says something: a training before it is of this recipe still."""
        told = {**super().to_dict(), "init": dict(self.init)}
        return {key: value for key, value in told.items() if key not in ("trained_with", "init") or value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], path: str | None = None) -> Self:
        """As for every config; `init` is a table, as in TOML."""
        init = data.get("init", {})
        if not isinstance(init, Mapping) or not all(isinstance(source, str) for source in init.values()):
            raise ZooError(
                f'{path or cls.__name__}.init: expected a table, {{first_stage = "MODEL.TAG"}}, got {init!r}'
            )
        return super().from_dict({**data, "init": sorted(init.items())}, path)


def factor(recipe: Recipe, seen: int) -> float:
    """What the schedule multiplies every group's learning rate by after `seen` images."""
    rise = min(1.0, (seen + recipe.batch) / recipe.warmup) if recipe.warmup else 1.0
    if recipe.schedule == "constant":
        return rise
    return rise * 0.5 * (1 + math.cos(math.pi * min(seen / recipe.images, 1.0)))


@dataclass(frozen=True)
class Plan:
    """A recipe with the model's specification and the config it is to be trained with.

    unrun: the recipe's author says, `unrun = true`, that nobody has trained it yet. tag: the packaged recipe's name
    behind the dot, if it was asked for by that name; empty for a recipe of the user's own.
    """

    spec: ModelSpec
    recipe: Recipe
    config: Config
    unrun: bool = False
    tag: str = ""

    @property
    def name(self) -> str:
        """`made.digits`, `ddpm.digits_cond`."""
        return f"{self.recipe.model}.{self.tag or datasets.tag(self.recipe.data)}"

    def identity(self) -> dict[str, Any]:
        """What makes two runs the same training, beside the bytes of the first stages that its recipe names."""
        return {"recipe": decisive(self.recipe), "config": self.config.to_dict()}


# What a recipe meant that was written down, in a run, a card or weights, before it had a field; where that is not what
# the field's default says today. So no finished training becomes another one because a default is better now.
MEANT = {"ema_ramp": 0.0}


def written(recipe: Mapping[str, Any], path: str = "Recipe") -> Recipe:
    """A recipe that was written down once: fields that came since mean what was done without them."""
    return Recipe.from_dict({**MEANT, **recipe}, path)


def decisive(recipe: Recipe) -> dict[str, Any]:
    """The fields that decide the numbers of a training: not how many images fit into the memory at a time."""
    fields = recipe.to_dict()
    del fields["micro_batch"]
    if not recipe.ema:
        del fields["ema_ramp"]
    return fields


def is_of(planned: Plan, identity: Mapping[str, Any]) -> bool:
    """Whether a training written down as `identity`, perhaps long ago, is the one planned.

    Its first stages too must be those that the recipe's names mean now, as far as either can be told.
    """
    try:
        recipe = written(identity["recipe"])
        config = type(planned.config).from_dict(identity["config"])
    except (ZooError, KeyError, TypeError):
        return False
    stages = first_stages.pinned(dict(planned.recipe.init))
    moved = any(sha256 != stages.get(key, sha256) for key, sha256 in (identity.get("init") or {}).items())
    return decisive(recipe) == decisive(planned.recipe) and config == planned.config and not moved


def plan(
    name: str | Path, data: str | None = None, *, changes: Mapping[str, Any] | None = None, **settings: Any
) -> Plan:
    """The plan for `made.digits`, for `made` with data `digits`, or for a recipe file (`./my.toml`).

    changes: dotted keys of the model's config to replace. settings: fields of the recipe to replace; of `init` only the
    entries given, `init={"first_stage": "./runs/codes/weights"}`.
    """
    name, tag = str(name), ""
    if name.endswith(".toml"):
        found, raw = _read(Path(name))
    else:
        base, _, tag = name.partition(".")
        spec = registry.models.get(base)
        raw = _packaged(spec, tag or data or DEFAULT_DATA, strict=bool(tag))
        found = spec
    table = raw.pop("config", {})
    if data and raw.get("data") != data:
        table = {}  # made for another data set; the preset is the better guess
    if not isinstance(table, dict):
        raise ZooError(f"recipe {name}: config must be a table, [config], got {table!r}")
    raw.pop("published", None)
    unrun = bool(raw.pop("unrun", False))
    if data:
        raw["data"] = datasets.find(data).name
    recipe = Recipe.from_dict(raw)
    if init := settings.pop("init", None):
        settings["init"] = {**dict(recipe.init), **init}
    recipe = recipe.override({key: value for key, value in settings.items() if value is not None})
    datasets.find(recipe.data)
    for encoder in recipe.trained_with:
        if encoder not in (known := encoders()):
            raise unknown("encoder", encoder, known, f" (recipe {name}: trained_with)")
    if recipe.model != found.name:
        raise ZooError(f"recipe {name}: is for model {recipe.model!r}, not {found.name!r}")
    config = found.config.override(table).override(changes or {})
    return Plan(found, recipe, config, unrun, tag="" if data else tag)


def encoders() -> list[str]:
    """What metrics look at images through, by name."""
    return sorted({spec.params["extractor"] for spec in registry.metrics.all() if "extractor" in spec.params})


def trained_with(training: Mapping[str, Any]) -> dict[str, Any]:
    """What a card says of a model whose loss looked through encoders, by what its weights say of their training."""
    names = training.get("recipe", {}).get("trained_with", [])
    return {"trained_with": tuple(names)} if names else {}


def available(spec: ModelSpec) -> list[str]:
    """Tags of the recipes that a model's plugin brings."""
    folder = _folder(spec)
    files = folder.glob(f"{spec.name}.*.toml") if folder.is_dir() else ()
    return sorted(path.name.removeprefix(f"{spec.name}.").removesuffix(".toml") for path in files)


def published(spec: ModelSpec, tag: str) -> list[dict[str, Any]]:
    """The published numbers that a recipe's `[[published]]` tables put beside ours: value, unit, protocol, source.

    A table may also say `why` ours differs.
    """
    if tag not in available(spec):
        return []
    entries = list(_packaged(spec, tag, strict=True).get("published", []))
    for entry in entries:
        if missing := [key for key in ("value", "unit", "protocol", "source") if key not in entry]:
            raise ZooError(f"recipe {spec.name}.{tag}: a published number lacks {', '.join(missing)}")
    return entries


def _packaged(spec: ModelSpec, tag: str, *, strict: bool) -> dict[str, Any]:
    """The recipe of a tag; where there is none and the tag was only a data set's name, the digits' recipe."""
    tags = available(spec)
    if tag not in tags and strict:
        names = [f"{spec.name}.{known}" for known in tags]
        raise unknown("recipe", f"{spec.name}.{tag}", names, f" (or: zoo train {spec.name} --data NAME)")
    if tag not in tags and DEFAULT_DATA not in tags:
        raise ZooError(f"{spec.name} has no recipe for {tag!r} and none for {DEFAULT_DATA!r} to start from")
    return _read(_folder(spec) / f"{spec.name}.{tag if tag in tags else DEFAULT_DATA}.toml")[1]


def _folder(spec: ModelSpec) -> Path:
    """The folder `recipes` nearest to the model: beside its module, or further up in its package."""
    root = Path(str(importlib.resources.files(spec.package)))
    place = root.joinpath(*spec.target.partition(":")[0].split(".")[1:-1])
    places = [place, *(parent for parent in place.parents if parent.is_relative_to(root))]
    return next((folder / "recipes" for folder in places if (folder / "recipes").is_dir()), root / "recipes")


def _read(path: Path) -> tuple[ModelSpec, dict[str, Any]]:
    if not path.is_file():
        raise ZooError(f"recipe {path} does not exist")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ZooError(f"recipe {path}: not valid TOML: {error}") from error
    if "model" not in raw:
        raise ZooError(f"recipe {path}: the key 'model' is missing")
    return registry.models.get(str(raw["model"])), raw
