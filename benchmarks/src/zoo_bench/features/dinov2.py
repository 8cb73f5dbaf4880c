"""DINOv2's ViT-L/14: features that agree with people better than Inception's. Not verified with the published weights.

Oquab et al., "DINOv2: Learning robust visual features without supervision", 2023, https://arxiv.org/abs/2304.07193;
as the features of a Fréchet distance: Stein et al., "Exposing flaws of generative model evaluation metrics and their
unfair treatment of diffusion models", 2023, https://arxiv.org/abs/2306.04675, section 3.

Bicubic resize to 224 bytes, ImageNet's mean and deviation, timm's network, the class token after the last layer
normalisation: `(N, 1024)`. timm fits the 37 x 37 positions to 16 x 16 by its own bicubic resize, which differs a little
from the authors' code. The code is tested with random weights; `dinov2_vitl14_pretrain.pth` (1.2 GB) is looked for in
`ZOO_DATA/extractors` and the caches, and is not fetched by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from zoo_bench.features import resizing, weightfiles
from zoo_core.errors import WeightsError
from zoo_core.specs import ExtractorSpec, ImageSpec

SIZE, ARCHITECTURE = 224, "vit_large_patch14_dinov2"
FILE = "dinov2_vitl14_pretrain.pth"
URL = f"https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/{FILE}"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load(spec: ExtractorSpec, images: ImageSpec, device: torch.device | str) -> Callable[[Tensor], Tensor]:
    """The network; `MissingWeights` where its file is nowhere."""
    resizing.colour(spec.name, images)
    tensors = weightfiles.unpickled(spec, weightfiles.find(spec, [FILE], published=URL, more=weightfiles.torch_hub()))
    return build(spec.name, tensors, images, device, ARCHITECTURE)


def build(
    name: str, tensors: Mapping[str, Tensor], images: ImageSpec, device: torch.device | str, architecture: str
) -> Callable[[Tensor], Tensor]:
    """Features by a timm ViT with DINOv2's own tensors; its positions are fitted to 224 pixels."""
    import timm
    from timm.models.vision_transformer import checkpoint_filter_fn

    network: Any = timm.create_model(architecture, pretrained=False, img_size=SIZE, num_classes=0)
    try:
        network.load_state_dict(checkpoint_filter_fn(dict(tensors), network))
    except (RuntimeError, KeyError) as error:
        raise WeightsError(f"extractor {name!r}: {FILE} does not fit timm's {architecture} ({error})") from error
    network = network.eval().requires_grad_(False).to(device)

    def features(x: Tensor) -> Tensor:
        v = resizing.bicubic(resizing.to_bytes(x, images), SIZE, rounded=True)
        tokens = network.forward_features(resizing.normalise(v, MEAN, STD))  # (N, 1 + 16 * 16, width), normalised
        token: Tensor = tokens[:, 0]
        return token

    return features
