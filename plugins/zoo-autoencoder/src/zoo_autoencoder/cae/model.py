"""CAE: a code that changes little where the images are, so that it keeps only directions that the images vary in.

S. Rifai, P. Vincent, X. Muller, X. Glorot, Y. Bengio, "Contractive Auto-Encoders: Explicit Invariance During Feature
Extraction", 2011, https://icml.cc/2011/papers/455_icmlpaper.pdf:

    E[L(x, g(f(x))) + lambda ||J_f(x)||_F^2],    ||J_f(x)||_F^2 = sum_ij (d h_j(x) / d x_i)^2

For one layer of logistic units, h = sigmoid(W x + b), in closed form, at the price of an encoding:

    ||J_f(x)||_F^2 = sum_j (h_j (1 - h_j))^2 sum_i W_ji^2

Otherwise by automatic differentiation: one backward pass for each latent, all at once.

Departures: other units, deeper encoders and convolutions are our addition.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo_autoencoder.cae.config import CAEConfig
from zoo_autoencoder.deterministic import DeterministicAutoencoder
from zoo_autoencoder.tied import linears
from zoo_core.images import Batch


class CAE(DeterministicAutoencoder):
    """Metric "contraction" is the Jacobian's squared norm, a mean over images."""

    config: CAEConfig

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """L and the penalty, per subpixel."""
        v = self.unit(batch.x)
        one_layer = self.config.network == "mlp" and not self.config.hidden
        h, norm = self.one_layer(v) if one_layer else jacobian_norm(self.codes, v)
        out = self.reconstruction(v, self.output(h))
        out["loss"] = out["loss"] + self.config.contraction / self.images.dims * norm.mean()
        return {**out, "contraction": norm.mean().detach()}

    def one_layer(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Codes h `(N, latent)` and ||J_f||_F^2 `(N,)` in closed form, for an encoder of one linear layer."""
        h = self.codes(v)
        (layer,) = linears(self.encoder)
        return h, (slope(h, self.config.code).square() * layer.weight.square().sum(1)).sum(1)


def slope(h: Tensor, code: str) -> Tensor:
    """The derivative of a code's units with respect to their inputs, as a function of their outputs h."""
    if code == "sigmoid":
        return h * (1 - h)
    if code == "tanh":
        return 1 - h.square()
    return (h > 0).to(h.dtype) if code == "relu" else torch.ones_like(h)


def jacobian_norm(codes: nn.Module, v: Tensor) -> tuple[Tensor, Tensor]:
    """`codes(v)` `(N, latent)` and its Jacobian's squared norm for each image, `(N,)`, differentiable itself."""
    v = v.detach().requires_grad_()
    h = codes(v)
    rows = torch.eye(h.shape[1], dtype=h.dtype, device=h.device)[:, None].expand(-1, len(h), -1)  # (latent, N, latent)
    (jacobian,) = torch.autograd.grad(h, v, rows, create_graph=True, is_grads_batched=True)  # (latent, N, C, H, W)
    return h, jacobian.square().sum((0, 2, 3, 4))
