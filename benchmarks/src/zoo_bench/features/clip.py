"""CLIP's ViT-L/14 at 336 pixels: image features for CMMD, text features for the CLIP score. Not verified with the
published weights.

Radford et al., "Learning transferable visual models from natural language supervision", 2021,
https://arxiv.org/abs/2103.00020; CMMD: Jayasumana et al., "Rethinking FID: Towards a better evaluation metric for image
generation", 2024, https://arxiv.org/abs/2401.09603, section 4; CLIP score: Hessel et al., 2021, https://arxiv.org/abs/2104.08718.

Bicubic resize to 336 without rounding, CLIP's mean and deviation, open_clip's network with OpenAI's activation
(QuickGELU: the plain `ViT-L-14-336` of open_clip 3 is another function). All features have length 1. The code is
tested with random weights; `ViT-L-14-336px.pt` (0.9 GB) is looked for in `ZOO_DATA/extractors` and the caches, and is
not fetched by itself.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo_bench.features import resizing, weightfiles
from zoo_bench.randomness import preserved
from zoo_core.errors import WeightsError, ZooError
from zoo_core.specs import ExtractorSpec, ImageSpec

SIZE, ARCHITECTURE = 336, "ViT-L-14-336-quickgelu"
FILE = "ViT-L-14-336px.pt"
URL = f"https://openaipublic.azureedge.net/clip/models/3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02/{FILE}"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # numbers that OpenAI's file carries besides


def load(spec: ExtractorSpec, images: ImageSpec, device: torch.device | str) -> Callable[[Tensor], Tensor]:
    """The image tower; `MissingWeights` where its file is nowhere."""
    resizing.colour(spec.name, images)
    network = build(spec.name, tensors(spec), device, configuration())

    def features(x: Tensor) -> Tensor:
        return image_features(network, x, images)

    return features


def image_features(network: Any, x: Tensor, images: ImageSpec) -> Tensor:
    """uint8 `(N, C, H, W)` to unit vectors `(N, d)`."""
    size = network.visual.image_size[0]
    v = resizing.bicubic(resizing.to_bytes(x, images), size, rounded=False)
    return functional.normalize(network.encode_image(resizing.normalise(v, MEAN, STD)), dim=-1)


def text_features(spec: ExtractorSpec, text: Sequence[str], device: torch.device | str = "cpu") -> Tensor:
    """Unit vectors `(N, 768)` of N prompts; the global random state is untouched."""
    with preserved():
        return encode_text(build(spec.name, tensors(spec), device, configuration()), text)


@torch.no_grad()
def encode_text(network: Any, text: Sequence[str], batch: int = 100) -> Tensor:
    """Unit vectors `(N, d)`, float32, on the CPU. A prompt that is too long is cut, as CLIP's own tokenizer cuts it."""
    import open_clip

    if not text:
        raise ZooError("text features: expected at least one prompt, got none")
    tokens = open_clip.SimpleTokenizer(context_length=network.context_length)(list(text))  # (N, context)
    device = next(network.parameters()).device
    parts = [functional.normalize(network.encode_text(part.to(device)), dim=-1) for part in tokens.split(batch)]
    return torch.cat(parts).float().cpu()


def prompts_sha256(text: Sequence[str]) -> str:
    """Of a list of prompts, in order: part of a CLIP score's identity."""
    return hashlib.sha256("\0".join(text).encode()).hexdigest()


def configuration() -> dict[str, Any]:
    """open_clip's description of the network."""
    import open_clip

    return open_clip.get_model_config(ARCHITECTURE)


def tensors(spec: ExtractorSpec) -> dict[str, Tensor]:
    """OpenAI's tensors, from its TorchScript archive or from an ordinary file of tensors."""
    path = weightfiles.find(spec, [FILE], published=URL, more=[Path.home() / ".cache" / "clip"])
    content = weightfiles.checked(spec, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecates the format in which OpenAI published
            found = dict(torch.jit.load(io.BytesIO(content), map_location="cpu").state_dict())
    except RuntimeError:  # not an archive of TorchScript
        found = weightfiles.unpickled(spec, path)
    return {name: value for name, value in found.items() if name not in _NOT_WEIGHTS}


def build(
    name: str, found: Mapping[str, Tensor], device: torch.device | str, architecture: Mapping[str, Any]
) -> nn.Module:
    """open_clip's network of this architecture with these tensors, in float32."""
    from open_clip.model import CLIP

    network = CLIP(**architecture)
    try:
        network.load_state_dict(found)
    except RuntimeError as error:
        raise WeightsError(f"extractor {name!r}: {FILE} does not fit open_clip's {ARCHITECTURE} ({error})") from error
    return network.float().eval().requires_grad_(False).to(device)
