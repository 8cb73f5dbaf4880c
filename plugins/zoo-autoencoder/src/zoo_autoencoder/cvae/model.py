"""The conditional variational autoencoder: a VAE whose encoder and decoder know the class of the image.

K. Sohn, H. Lee, X. Yan, "Learning Structured Output Representation using Deep Conditional Generative Models", 2015,
https://papers.nips.cc/paper/5775-learning-structured-output-representation-using-deep-conditional-generative-models,
with its output called x and its condition, here a class, c:

    log p(x|c) >= E_q[log p(x|z, c)] - KL(q(z|x, c) || p(z|c))                                            (equation 4)

The prior is p(z|c) = N(0, I), independent of the class as the paper allows (section 4.1): z says what the class does
not. `elbo` and `iwae` bound log P(x | labels).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoencoder.cvae.config import CVAEConfig
from zoo_autoencoder.vae.model import VAE
from zoo_core.errors import ZooError
from zoo_core.images import Batch, Labels, Rng
from zoo_core.labels import ClassFrequencies
from zoo_core.specs import ImageSpec
from zoo_core.step import Step


class CVAE(VAE):
    """The encoder sees one more channel, an image that is learned for each class; the decoder z and the class one-hot.

    Labels are int64 `(N,)`; `encode`, `decode` and what rests on them need them too.
    """

    config: CVAEConfig
    conditioning = "class"

    def __init__(self, images: ImageSpec, config: CVAEConfig) -> None:
        if images.classes < 1:
            raise ZooError(f"CVAE: expected images with classes, got {images}; without any, take vae")
        super().__init__(images, config, planes=1, told=images.classes)
        self.planes = nn.Embedding(images.classes, images.height * images.width)
        nn.init.uniform_(self.planes.weight)  # the range of pixels
        self.frequencies = ClassFrequencies(images.classes)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        if batch.labels is None:
            raise ZooError("CVAE is conditional: its training images need labels; give Batch(x, labels=…)")
        self.frequencies.count(batch, step)
        return super().train_step(batch, step)

    def encoder_input(self, x: Tensor, labels: Labels) -> Tensor:
        """Pixels in [0, 1], and the class's plane: `(N, C + 1, H, W)`."""
        plane = self.planes(labels).view(-1, 1, self.images.height, self.images.width)
        return torch.cat([super().encoder_input(x, labels), plane], 1)

    def decoder_input(self, z: Tensor, labels: Labels) -> Tensor:
        """z and its class: `(N, ..., latent)` -> `(N, ..., latent + classes)`."""
        assert labels is not None
        told = F.one_hot(labels, self.images.classes).to(z)  # (N, classes)
        told = told.view(len(z), *[1] * (z.dim() - 2), -1).expand(*z.shape[:-1], -1)
        return torch.cat([z, told], -1)

    def drawn(self, n: int, labels: Labels, generator: Rng) -> Labels:
        """Without labels: some by their training frequencies."""
        return self.frequencies.draw(n, generator) if labels is None else labels

    def check_decoded(self, n: int, labels: Labels) -> None:
        super().check_decoded(n, labels)
        if labels is None:
            raise ZooError("CVAE.decode: a code says what the class does not; pass labels=…, one for each code")
