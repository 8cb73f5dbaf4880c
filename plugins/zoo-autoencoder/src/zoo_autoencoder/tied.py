"""Tied weights: a decoder whose weights are its encoder's, transposed.

P. Vincent, H. Larochelle, I. Lajoie, Y. Bengio, P.-A. Manzagol, "Stacked Denoising Autoencoders", 2010,
https://jmlr.org/papers/v11/vincent10a.html, section 2.2: W' = W^T.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoencoder.network_config import NetworkConfig
from zoo_autoencoder.networks import ACTIVATIONS, Flat


def linears(network: nn.Module) -> list[nn.Linear]:
    """The linear layers of an MLP, in order."""
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]


class TiedDecoder(nn.Module):
    """Biases only; the encoder comes with each call, so its weights are saved, counted and moved once."""

    def __init__(self, encoder: Flat, config: NetworkConfig) -> None:
        super().__init__()
        widths = [layer.in_features for layer in reversed(linears(encoder))]
        self.biases = nn.ParameterList(torch.zeros(width) for width in widths)
        self.between = nn.Sequential(ACTIVATIONS[config.activation](), nn.Dropout(config.dropout))

    def forward(self, z: Tensor, encoder: Flat) -> Tensor:
        """Codes `(M, latent)` -> what the encoder takes, flat `(M, D)`."""
        h = z
        for k, (layer, bias) in enumerate(zip(reversed(linears(encoder)), self.biases)):
            h = F.linear(self.between(h) if k else h, layer.weight.T, bias)
        return h
