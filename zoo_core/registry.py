"""Names to specifications to models. No torch until something is created.

`made` is a model, to be trained by a recipe; `made.digits` is a model with published weights. The same string is the
command-line argument, the recipe's file name, the card's name and the pytest id.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from zoo_core.errors import ZooError, unknown
from zoo_core.plugins import Plugin, one_owner, plugins
from zoo_core.specs import DatasetSpec, ExtractorSpec, ImageSpec, Kind, MetricSpec, ModelSpec, Pretrained

if TYPE_CHECKING:
    from zoo_core.config import Config
    from zoo_core.model import GenerativeModel

S = TypeVar("S", ModelSpec, DatasetSpec, ExtractorSpec, MetricSpec)


class Registry(Generic[S]):
    """What all plugins offer through one hook, by name."""

    def __init__(self, hook: str, kind: type[S], word: str) -> None:
        self.hook, self.word = hook, word
        self.kind: type[S] = kind

    def offers(self) -> dict[str, list[tuple[Plugin, S]]]:
        """Name to all who offer it."""
        found: dict[str, list[tuple[Plugin, S]]] = {}
        for plugin, item in plugins().collect(self.hook, self.kind):
            found.setdefault(item.name, []).append((plugin, item))
        return dict(sorted(found.items()))

    def lookup(self, name: str) -> tuple[Plugin, S]:
        """The one plugin that offers `name`, and what it offers."""
        offers = self.offers()
        if name not in offers:
            raise unknown(self.word, name, offers, self._missing_plugins())
        one_owner(self.word, name, [plugin for plugin, _ in offers[name]])
        return offers[name][0]

    def get(self, name: str) -> S:
        return self.lookup(name)[1]

    def all(self) -> list[S]:
        """Everything that exactly one plugin offers."""
        return [owners[0][1] for owners in self.offers().values() if len(owners) == 1]

    def _missing_plugins(self) -> str:
        broken = [plugin.name for plugin in plugins().found if plugin.error]
        if broken:
            return f" (not in use: {', '.join(broken)}; `zoo plugins` says why)"
        return " (ZOO_PLUGINS hides some plugins)" if os.environ.get("ZOO_PLUGINS") else ""


models = Registry("zoo_models", ModelSpec, "model")
datasets = Registry("zoo_datasets", DatasetSpec, "data set")
extractors = Registry("zoo_extractors", ExtractorSpec, "extractor")
metrics = Registry("zoo_metrics", MetricSpec, "metric")


def list_models(pattern: str = "*", *, pretrained: bool = False, kind: Kind | None = "generative") -> list[str]:
    """Names of models that match a glob; with `pretrained`, names of weights (`made.digits`) instead.

    kind: encoders or classifiers instead of models that draw images; None for all.
    """
    specs = [spec for spec in models.all() if kind in (None, spec.kind)]
    tags = [f"{spec.name}.{entry.tag}" for spec in specs for entry in spec.pretrained]
    return fnmatch.filter(tags if pretrained else [spec.name for spec in specs], pattern)


def spec(name: str) -> ModelSpec:
    """The specification of a model; a tag behind the name is allowed and must exist."""
    base, _, tag = name.partition(".")
    found = models.get(base)
    if tag:
        find_pretrained(found, tag)
    return found


def find_pretrained(found: ModelSpec, tag: str) -> Pretrained:
    """The published weights called `tag` of a model."""
    for entry in found.pretrained:
        if entry.tag == tag:
            return entry
    tags = [f"{found.name}.{entry.tag}" for entry in found.pretrained]
    raise unknown("weights", f"{found.name}.{tag}", tags, f" (train your own: zoo train {found.name})")


def create(
    name: str, images: ImageSpec, config: Config | Mapping[str, Any] | None = None, **changes: Any
) -> GenerativeModel:
    """A freshly initialised model for images of `images`.

    config: of the model's own config class, or a mapping of dotted keys to replace in the preset; `changes` replace
    single fields: `create("made", ImageSpec(channels=1, height=8, width=8, levels=17), hidden=(64,))`.
    """
    if "." in name:
        raise ZooError(f"{name!r} names weights: use load({name!r}); create() takes a bare model name")
    found = spec(name)
    if config is None or isinstance(config, Mapping):
        config = found.config.override(config or {})
    elif type(config) is not type(found.config):
        raise ZooError(f"{name}: expected a {type(found.config).__name__}, got {type(config).__name__}")
    if not isinstance(images, ImageSpec):
        raise ZooError(f"{name}: expected an ImageSpec, got {type(images).__name__}")
    model: GenerativeModel = found.load_class()(images, config.override(changes))
    return model
