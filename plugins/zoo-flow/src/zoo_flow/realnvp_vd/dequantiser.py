"""q(u|x): the noise that variational dequantisation adds to an image, a conditional flow on [0, 1)^D.

Ho, Chen, Srinivas, Duan, Abbeel, "Flow++", 2019, https://arxiv.org/abs/1902.00275, section 3.1: u = q_x(eps) with
eps ~ N(0, I), and

    log q(u|x) = log N(eps) - log |det du/deps|

Here u = Phi(y), y = f_x(eps), with affine couplings f_x whose networks see x, and Phi, the normal distribution
function, where the paper has a sigmoid: as f_x begins as the identity, u begins exactly uniform, whatever x is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo_core.images import to_signed
from zoo_core.specs import ImageSpec
from zoo_flow.image_coupling import Coupling, alternate
from zoo_flow.image_networks import ResNet
from zoo_flow.realnvp.model import last_coupling
from zoo_flow.realnvp_vd.config import DequantiserConfig
from zoo_flow.squeeze import checkerboards, most_squeezes, squeeze, uncheckerboards


class Dequantiser(nn.Module):
    """Couplings by checkerboard: at half the size where both sides are even and networks are convolutional."""

    def __init__(self, images: ImageSpec, config: DequantiserConfig) -> None:
        super().__init__()
        self.images = images
        self.squeezes = config.network == "conv" and most_squeezes(images) > 0
        half = 2 * images.channels
        couplings: list[nn.Module] = []
        for i in range(config.couplings):
            if self.squeezes:
                network = ResNet(half + 4 * images.channels, 2 * half, config.width, config.blocks)
                couplings.append(Coupling(network, half))
            else:
                odd, context = i % 2 == 1, images.channels
                couplings.append(last_coupling(*images.shape, config, odd=odd, context=context))
        self.couplings = nn.ModuleList(couplings)

    def forward(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """u in [0, 1], `(N, C, H, W)`, made of noise eps of that shape, and log q(u|x), nats, `(N,)`."""
        y, log_dets = self.flow(to_signed(x, self.images).to(eps.dtype), eps)
        of_normals = 0.5 * (y.square() - eps.square()).flatten(1).sum(1)  # log N(eps) - log Phi'(y)
        return torch.special.ndtr(y), of_normals - sum(log_dets, y.new_zeros(()))

    def flow(self, x: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]]:
        """f_x of noise, and the log-determinants of its couplings. x: in [-1, 1]."""
        if self.squeezes:
            even, odd, log_dets = alternate(self.couplings, *checkerboards(y), context=squeeze(x))
            return uncheckerboards(even, odd), log_dets
        log_dets = []
        for coupling in self.couplings:
            y, log_det = coupling(y, context=x)
            log_dets.append(log_det)
        return y, log_dets
