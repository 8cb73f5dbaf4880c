"""RealNVP: affine couplings whose known halves are checkerboards, then channels, at several scales.

Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, https://arxiv.org/abs/1605.08803:

    y = b x + (1 - b) (x exp(s(b x)) + t(b x))                                          (equation 9; image_coupling.py)
    a scale: couplings by alternating checkerboards, a squeeze, couplings by alternating channels;
    half of the channels is finished, the rest goes on; the last scale: checkerboards only                (section 3.6)

Departures. A checkerboard of the image is a half of the channels once its squares are squeezed (`squeeze.py`), so a
scale squeezes first, and the networks of its checkerboard couplings see the known pixels as images of half the size, at
a quarter of the cost (`checkerboard_couplings.py`). Activation normalisation stands for batch normalisation, so that
the density of an image does not depend on others.
"""

from __future__ import annotations

from torch import Tensor, nn

from zoo_core.errors import ZooError
from zoo_core.specs import ImageSpec
from zoo_flow.checkerboard_couplings import CheckerboardCouplings
from zoo_flow.image_coupling import Coupling, Moments, alternate, unalternate
from zoo_flow.image_networks import ResNet
from zoo_flow.multiscale import MultiScaleFlow, refuse_scales
from zoo_flow.realnvp.config import RealNVPConfig
from zoo_flow.squeeze import checkerboards, most_squeezes, rows, uncheckerboards, unrows


class RealNVP(MultiScaleFlow):
    """`config.scales` squeezed scales and a last one."""

    config: RealNVPConfig

    def __init__(self, images: ImageSpec, config: RealNVPConfig) -> None:
        super().__init__(images, config)
        if images.height * images.width < 2:
            raise ZooError("realnvp: expected images of at least 2 pixels, known and unknown ones, got 1x1")
        why = "each time both sides are halved, and 2 pixels must be left for the checkerboards of the last scale"
        refuse_scales("realnvp", images, config.scales, most_squeezes(images, places=2), why)
        channels, height, width = images.shape
        self.scales = nn.ModuleList()
        self._shapes = []
        for _ in range(config.scales):
            self.scales.append(Scale(channels, config))
            channels, height, width = 2 * channels, height // 2, width // 2
            self._shapes.append((channels, height, width))
        self._shapes.append((channels, height, width))
        self.last = CheckerboardCouplings(channels, height, width, config.couplings + 1, config)

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        return self._shapes

    def parts(self, y: Tensor, moments: Moments | None = None) -> tuple[list[Tensor], list[Tensor]]:
        parts, log_dets = [], []
        for scale in self.scales:
            y, part, found = scale(y, moments)
            parts.append(part)
            log_dets += found
        y, found = self.last(y, moments)
        return [*parts, y], log_dets + found

    def join(self, parts: list[Tensor]) -> Tensor:
        y = self.last.inverse(parts[-1])
        for scale, part in zip(reversed(self.scales), reversed(parts[:-1])):
            y = scale.inverse(y, part)
        return y


class Scale(nn.Module):
    """`(N, C, H, W)` to what goes on and what is finished, `(N, 2 C, H/2, W/2)` each."""

    def __init__(self, channels: int, config: RealNVPConfig) -> None:
        super().__init__()
        half = 2 * channels

        def couplings() -> nn.ModuleList:
            return nn.ModuleList(
                Coupling(ResNet(half, 2 * half, config.width, config.blocks), half) for _ in range(config.couplings)
            )

        self.by_checkerboard, self.by_channels = couplings(), couplings()

    def forward(self, x: Tensor, moments: Moments | None = None) -> tuple[Tensor, Tensor, list[Tensor]]:
        even, odd, one = alternate(self.by_checkerboard, *checkerboards(x), moments)
        upper, lower, two = alternate(self.by_channels, *rows(even, odd), moments)
        return upper, lower, one + two

    def inverse(self, upper: Tensor, lower: Tensor) -> Tensor:
        even, odd = unrows(*unalternate(self.by_channels, upper, lower))
        return uncheckerboards(*unalternate(self.by_checkerboard, even, odd))
