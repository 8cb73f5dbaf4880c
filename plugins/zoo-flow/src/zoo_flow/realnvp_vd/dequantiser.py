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
from zoo_flow.checkerboard_couplings import CheckerboardCouplings
from zoo_flow.realnvp_vd.config import DequantiserConfig


class Dequantiser(nn.Module):
    """Couplings by checkerboard, told the image."""

    def __init__(self, images: ImageSpec, config: DequantiserConfig) -> None:
        super().__init__()
        self.images = images
        self.flow = CheckerboardCouplings(*images.shape, config.couplings, config, context=images.channels)

    def forward(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """u in [0, 1], `(N, C, H, W)`, made of noise eps of that shape, and log q(u|x), nats, `(N,)`."""
        y, log_dets = self.flow(eps, context=to_signed(x, self.images).to(eps.dtype))
        of_normals = 0.5 * (y.square() - eps.square()).flatten(1).sum(1)  # log N(eps) - log Phi'(y)
        return torch.special.ndtr(y), of_normals - sum(log_dets, y.new_zeros(()))
