"""Stacked AE: each layer is first trained as an autoencoder of what the layers below make of the images.

Y. Bengio, P. Lamblin, D. Popovici, H. Larochelle, "Greedy Layer-Wise Training of Deep Networks", 2007,
https://proceedings.neurips.cc/paper/2006/hash/5da713a690c067105aeb2fae32403405-Abstract.html; tuned as an autoencoder
as in G. Hinton, R. Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", 2006,
https://doi.org/10.1126/science.1127647. With h_0 = x, for k = 1 .. K, one after the other and each for an equal share
of the pretraining:

    h_k = f_k(h_k-1),    minimise L(h_k-1, g_k(h_k)) over f_k and g_k; f_1 .. f_k-1 stand still

then minimise L(x, g_1(.. g_K(f_K(.. f_1(x))))) over all.

Departures: weights are not tied; hidden units other than logistic ones are reconstructed with squared errors.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from zoo_autoencoder import networks
from zoo_autoencoder.deterministic import DeterministicAutoencoder
from zoo_autoencoder.stacked_ae.config import StackedAEConfig
from zoo_autoencoder.tied import linears
from zoo_core.images import Batch
from zoo_core.specs import ImageSpec
from zoo_core.step import Step


class StackedAE(DeterministicAutoencoder):
    """Metric "layer" tells which one is being trained, from 1; 0 while all are."""

    config: StackedAEConfig

    def __init__(self, images: ImageSpec, config: StackedAEConfig) -> None:
        super().__init__(images, config)
        self.layers = len(config.hidden) + 1
        self.between = nn.Sequential(networks.ACTIVATIONS[config.activation](), nn.Dropout(config.dropout))

    def pair(self, k: int) -> tuple[nn.Linear, nn.Linear]:
        """The linear parts of f_k and g_k, k = 1 .. K."""
        return linears(self.encoder)[k - 1], linears(self.decoder)[self.layers - k]

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """A group for each layer's pair, `layer1` and so on, and one for all of them, `model`."""
        groups = {f"layer{k}": [p for half in self.pair(k) for p in half.parameters()] for k in self._numbers}
        groups["model"] = list(self.parameters())
        decay = self.config.weight_decay
        return {name: AdamW(found, lr=lr, weight_decay=decay, fused=True) for name, found in groups.items()}

    def layer(self, progress: float) -> int:
        """Which layer is trained when this share of the budget is spent, from 1; 0 for all."""
        if progress >= self.config.pretraining:
            return 0
        return 1 + min(int(progress / self.config.pretraining * self.layers), self.layers - 1)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """A step of the layer whose turn it is, or of all."""
        k = self.layer(step.progress)
        found = step.minimize(lambda part: self.layer_loss(part, k), batch, f"layer{k}") if k else None
        metrics = step.minimize(self.loss, batch) if found is None else {"loss": found}
        return {**metrics, "layer": torch.tensor(float(k), device=batch.x.device)}  # type: ignore[dict-item]

    def layer_loss(self, batch: Batch, k: int) -> Tensor:
        """L(h_k-1, g_k(f_k(h_k-1))) per unit of h_k-1: of pixels for k = 1."""
        v = self.unit(batch.x)
        with torch.no_grad():
            below = self.below(v, k)
        encoder, decoder = self.pair(k)
        code = encoder(below)
        back = decoder(self.units(code) if k == self.layers else self.between(code))
        if k == 1:
            return self.reconstruction(v, back.view_as(v))["loss"]
        if self.config.activation == "sigmoid":
            return F.binary_cross_entropy_with_logits(back, below)
        return (self.between[0](back) - below).square().mean()

    def below(self, v: Tensor, k: int) -> Tensor:
        """h_k-1 of images `(N, C, H, W)`: the pixels for k = 1. `(N, units)`."""
        h = v.flatten(1)
        for layer in linears(self.encoder)[: k - 1]:
            h = self.between[0](layer(h))
        return h

    @property
    def _numbers(self) -> range:
        return range(1, self.layers + 1)
