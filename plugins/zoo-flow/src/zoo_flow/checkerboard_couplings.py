"""Couplings by alternating checkerboards, of images of any size; a context may tell their networks more.

Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, https://arxiv.org/abs/1605.08803, section 3.4.
Where both sides are even, a checkerboard is a half of the squeezed channels (`squeeze.py`), and the convolutional
networks see the known pixels as an image of half the size, at a quarter of the cost. Otherwise masks are applied as
equation 9 writes them.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from zoo_flow.image_coupling import Checkerboard, Coupling, Moments, alternate, unalternate
from zoo_flow.image_networks import FullyConnected, ResNet
from zoo_flow.squeeze import checkerboards, squeeze, uncheckerboards


class NetworkConfig(Protocol):
    """The fields of a config that say what the networks are."""

    @property
    def network(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    @property
    def hidden(self) -> tuple[int, ...]: ...


class CheckerboardCouplings(nn.Module):
    """`count` couplings of images `(N, C, H, W)`. context: channels that the networks see beside the image's."""

    def __init__(
        self, channels: int, height: int, width: int, count: int, config: NetworkConfig, context: int = 0
    ) -> None:
        super().__init__()
        self.squeezes = config.network == "conv" and height % 2 == width % 2 == 0
        made: list[nn.Module] = []
        for i in range(count):
            if self.squeezes:
                inputs, half = 2 * channels + 4 * context, 2 * channels
                made.append(Coupling(ResNet(inputs, 2 * half, config.width, config.blocks), half))
                continue
            inputs, outputs = channels + context, 2 * channels
            if config.network == "mlp":
                network: nn.Module = FullyConnected(inputs, outputs, height, width, config.hidden)
            else:
                network = ResNet(inputs, outputs, config.width, config.blocks)
            made.append(Checkerboard(network, channels, height, width, odd=i % 2 == 1))
        self.couplings = nn.ModuleList(made)

    def forward(
        self, y: Tensor, moments: Moments | None = None, context: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """The changed image, and the log-determinants, `(N,)` each. context: `(N, context, H, W)`."""
        if self.squeezes:
            context = None if context is None else squeeze(context)
            even, odd, log_dets = alternate(self.couplings, *checkerboards(y), moments, context)
            return uncheckerboards(even, odd), log_dets
        log_dets = []
        for coupling in self.couplings:
            y, log_det = coupling(y, moments, context)
            log_dets.append(log_det)
        return y, log_dets

    def inverse(self, y: Tensor) -> Tensor:
        """Of couplings without a context."""
        if self.squeezes:
            return uncheckerboards(*unalternate(self.couplings, *checkerboards(y)))
        for coupling in reversed(self.couplings):
            y = coupling.inverse(y)
        return y
