"""All that is known about models, data sets, metrics and extractors without importing torch."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from zoo_core.config import Config
from zoo_core.errors import ZooError

Likelihood = Literal["exact", "density", "bound", "estimate", "none"]
Conditioning = Literal["none", "class", "text"]
Kind = Literal["generative", "encoder", "classifier"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class ImageSpec(Config):
    """What a model must know about its data: `channels x height x width` integers in `0 .. levels-1`.

    `levels` is 2 for binary images, 17 for scikit-learn's digits, 256 for bytes. `classes` is 0 without labels.
    """

    channels: int
    height: int
    width: int
    levels: int = 256
    classes: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("channels", "height", "width"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        self.expect("levels", 2 <= self.levels <= 256, "2 to 256 (pixels are uint8)")
        self.expect("classes", self.classes >= 0, "0 (unlabelled) or more")

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(C, H, W)`."""
        return (self.channels, self.height, self.width)

    @property
    def dims(self) -> int:
        """`D = C * H * W`, the number of (sub)pixels; bits/dim = nats / (D ln 2)."""
        return self.channels * self.height * self.width

    def __str__(self) -> str:
        classes = f", {self.classes} classes" if self.classes else ""
        return f"{self.channels}x{self.height}x{self.width}, {self.levels} levels{classes}"


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a model comes from."""

    title: str
    authors: str
    year: int
    url: str


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Published weights of one model.

    `source` is a folder inside the plugin's package (`weights/made.digits`) or a Hub repository with its revision
    (`hf:org/repo@revision`). `sha256` is that of `model.safetensors`; it is checked before a tensor is used. A released
    tag never changes its bytes.
    """

    tag: str
    source: str
    sha256: str
    licence: str = "Apache-2.0"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ZooError(f"Pretrained {self.tag!r}: sha256 must be 64 lower-case hex digits, got {self.sha256!r}")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model that a plugin offers.

    name: the paper's short name, lower case (`made`): the command line's argument, the recipe's and the card's name.
    family: free text (`autoregressive`). summary: one line for `zoo list`.
    target: `"package.module:Class"`, imported only by `create()` and `load()`.
    config: the preset. tiny: a size that trains in seconds on one core, used by the conformance laws.
    kind: an "encoder" or a "classifier" is trained, saved and loaded like any model, and draws nothing.
    likelihood: the strongest ability the class has; checked against its methods.
    conditioning: what `sample` accepts, and what training needs beside images.
    """

    name: str
    family: str
    summary: str
    target: str
    config: Config
    tiny: Config
    kind: Kind = "generative"
    likelihood: Likelihood = "none"
    conditioning: Conditioning = "none"
    paper: Paper
    pretrained: tuple[Pretrained, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ZooError(f"model name {self.name!r}: use lower-case letters, digits and '_'; '.' separates the tag")
        if ":" not in self.target:
            raise ZooError(f"model {self.name!r}: target must be 'package.module:Class', got {self.target!r}")
        if self.kind not in get_args(Kind):
            raise ZooError(f"model {self.name!r}: kind must be one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        if self.kind != "generative" and self.likelihood != "none":
            raise ZooError(
                f"model {self.name!r}: kind {self.kind!r} has no likelihood of images, got {self.likelihood!r}"
            )
        if type(self.config) is not type(self.tiny):
            raise ZooError(f"model {self.name!r}: config and tiny must be of one class")

    @property
    def package(self) -> str:
        """The importable package that holds the model, its `recipes/` and its `weights/`."""
        return self.target.partition(":")[0].partition(".")[0]

    def load_class(self) -> type[Any]:
        """Import the model's class; this is where torch comes in."""
        found: type[Any] = load_target(self.target, f"model {self.name!r}")
        return found


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """One data set: what its images are, how it is split, and a `target` that reads it.

    `target` names a function `(spec, split, data_dir) -> uint8 array (N, C, H, W), labels or None`, and N captions as a
    third where the set has `captions`. `splits` maps a split's name to the sha256 of its pixels (C order, uint8),
    checked after reading; an empty string skips it.
    `binarised` asks for stochastic binarisation: redrawn for every training batch, drawn once for everything else.
    `truth`, where the distribution of the images is known, names a function `(spec) -> log P of every image`, nats,
    float64 `(levels,) * dims`: entry `[a, b]` is that of the image with pixels a, b in C order.
    `channels_of` names the data set whose images the channels are, one each, with nothing else in common.
    """

    name: str
    summary: str
    target: str
    images: ImageSpec
    splits: dict[str, str]
    licence: str
    class_names: tuple[str, ...] = ()
    captions: bool = False
    binarised: bool = False
    source: str = ""
    truth: str = ""
    channels_of: str = ""


@dataclass(frozen=True, kw_only=True)
class ExtractorSpec:
    """A feature network behind a metric: features of `dims` numbers per image, weights pinned by `sha256`."""

    name: str
    target: str
    dims: int | None
    sha256: str = ""
    resize: str = "none"


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """A metric: its identity is name, version and protocol; two numbers share a column only if all are equal.

    `target` names a function of what was measured (`zoo_bench.Measured`) that returns entries of a result card.
    """

    name: str
    version: int
    target: str
    higher_is_better: bool
    unit: str
    needs_extractor: bool = False
    params: dict[str, Any] = field(default_factory=dict)


def load_target(target: str, owner: str) -> Any:
    """Import `"package.module:attribute"`; an import error says whose target it was."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ZooError(f"{owner}: cannot import its target {target!r}: {error}") from error
