"""The Inception network of the FID: TensorFlow's graph of 2015-12-05, as torch-fidelity rebuilt it.

Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017,
https://arxiv.org/abs/1706.08500, section 3; the network: Szegedy et al., "Rethinking the Inception architecture for
computer vision", 2016, https://arxiv.org/abs/1512.00567. Only this graph, with TensorFlow 1's bilinear resize to 299,
makes a number called `fid`; torchvision's and timm's Inception are other networks.

Features: the 2048 pooled numbers. Logits: the 1008 without the last bias, of which the Inception score is made
(Salimans et al., 2016, https://arxiv.org/abs/1606.03498, section 4). The weights lie in `ZOO_DATA/extractors`, in
torch's or this program's cache, or are fetched from torch-fidelity's release; their sha256 is checked before they are
read. The code is tested with random weights in place of the published ones.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from torch import Tensor

from zoo_bench.features import resizing, weightfiles
from zoo_core.errors import WeightsError
from zoo_core.specs import ExtractorSpec, ImageSpec

FILES = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")  # the same bytes
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILES[0]}"
FEATURES, LOGITS = "2048", "logits_unbiased"


def load(
    spec: ExtractorSpec, images: ImageSpec, device: torch.device | str
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The network; `MissingWeights` where they are nowhere and cannot be fetched."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    resizing.colour(spec.name, images)
    tensors = weightfiles.unpickled(spec, weightfiles.find(spec, FILES, fetched_from=URL, more=weightfiles.torch_hub()))
    ours = io.BytesIO()
    torch.save(tensors, ours)  # its constructor would unpickle anything, so it is given what was just written here
    ours.seek(0)
    try:
        network = FeatureExtractorInceptionV3(spec.name, [FEATURES, LOGITS], feature_extractor_weights_path=ours)
    except RuntimeError as error:
        raise WeightsError(f"extractor {spec.name!r}: {FILES[0]} does not fit torch-fidelity's network") from error
    network = network.eval().requires_grad_(False).to(device)

    def features(x: Tensor) -> tuple[Tensor, Tensor]:
        return network(resizing.to_bytes(x, images))  # resizes inside: (N, 2048), (N, 1008)

    return features
