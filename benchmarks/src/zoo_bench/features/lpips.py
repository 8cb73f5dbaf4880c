"""LPIPS: a learned perceptual distance between two images, for reconstructions and for the diversity of samples.

d(x, y) = sum_l mean_hw |w_l * (f_l(x) - f_l(y))|^2  with unit-length channels f_l of five layers of VGG-16
(Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018,
https://arxiv.org/abs/1801.03924, eq. 1; version 0.1, whose w_l >= 0 stand outside the square).

Two files are needed, from a folder that the caller names: torchvision's VGG-16 and torch-fidelity's copy of the
authors' linear weights. Nothing is fetched, and without both there is no number. Not verified with the published
weights.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo_core.errors import WeightsError, ZooError
from zoo_core.images import check
from zoo_core.specs import ImageSpec

VGG = "vgg16-397923af.pth"  # torchvision puts the first digits of the sha256 into the name
LINEAR = "weights-vgg16-lpips.pth"
LINEAR_URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-vgg16-lpips.pth"
CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # the authors' means and deviations at [-1, 1]
BATCH = 32
SMALLEST = 16  # pixels: four poolings halve them


def lpips(x: Tensor, y: Tensor, images: ImageSpec, network: Lpips) -> Tensor:
    """The distance of each pair of uint8 images `(N, C, H, W)`, grey ones as three equal channels: float64 `(N,)`."""
    check(x, images)
    check(y, images)
    if len(x) != len(y) or len(x) == 0:
        raise ZooError(f"expected pairs of images, at least 1, got {len(x)} and {len(y)}")
    if images.channels not in (1, 3) or min(images.height, images.width) < SMALLEST:
        raise ZooError(f"lpips: expected 1 or 3 channels and at least {SMALLEST} pixels a side, got {images}")
    top = images.levels - 1
    pairs = zip(x.split(BATCH), y.split(BATCH))
    with torch.no_grad():
        return torch.cat([network(*(v.expand(-1, 3, -1, -1).float() / top for v in pair)) for pair in pairs])


def load(folder: Path) -> tuple[Lpips, dict[str, str]]:
    """The network and the sha256 of both files, which belong to the number's identity.

    `MissingWeights` names the file that is not in the folder; `WeightsError` a file that is something else.
    """
    from zoo_bench.features.weightfiles import MissingWeights

    read, hashes = [], {}
    for file, prefix in ((VGG, "397923af"), (LINEAR, "")):
        path = Path(folder) / file
        if not path.is_file():
            wanted = (
                f"{prefix}..." if prefix else f"torch-fidelity's file, {LINEAR_URL}, whose sha256 goes into the card"
            )
            raise MissingWeights("lpips", file, wanted, str(folder))
        content = path.read_bytes()
        hashes[file] = hashlib.sha256(content).hexdigest()
        if not hashes[file].startswith(prefix):
            raise WeightsError(f"{path}: sha256 is {hashes[file]}, expected {prefix}...; put the published file there")
        try:
            read.append(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
        except Exception as error:  # torch raises a different one for each way of being broken
            raise WeightsError(f"{path}: cannot be read as weights ({error})") from error
    return assemble(*read), hashes


def assemble(vgg: dict[str, Tensor], linear: dict[str, Tensor]) -> Lpips:
    """The network from torchvision's names (`features.0.weight`) and torch-fidelity's (`lin0.model.1.weight`)."""
    network = Lpips()
    state = {name: value for name, value in vgg.items() if name.startswith("features.")}
    try:
        state |= {f"weights.{i}": linear[f"lin{i}.model.1.weight"].flatten() for i in range(len(CHANNELS))}
        network.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"lpips: these are not the weights of VGG-16 and its five layers ({error})") from error
    return network.eval().requires_grad_(False)


class Lpips(nn.Module):
    """VGG-16 up to its fifth block, and one non-negative weight for each channel of each block."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.taps: list[int] = []  # the last ReLU of each block
        before = 3
        for block, widths in enumerate(CHANNELS):
            if block:
                layers.append(nn.MaxPool2d(2))
            for width in widths:
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            self.taps.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)
        self.weights = nn.ParameterList([nn.Parameter(torch.zeros(widths[-1])) for widths in CHANNELS])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x, y: float32 `(n, 3, H, W)` in [0, 1]. Returns `(n,)`."""
        distance = torch.zeros(len(x), dtype=torch.float64)
        for weight, a, b in zip(self.weights, self._directions(x), self._directions(y)):
            distance += ((a - b).square() * weight[:, None, None]).sum(1).mean((1, 2)).double()
        return distance

    def _directions(self, x: Tensor) -> list[Tensor]:
        h = (2 * x - 1 - torch.tensor(SHIFT)[:, None, None]) / torch.tensor(SCALE)[:, None, None]
        found = []
        for i, layer in enumerate(self.features):
            h = layer(h)
            if i in self.taps:
                found.append(h / (h.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found
