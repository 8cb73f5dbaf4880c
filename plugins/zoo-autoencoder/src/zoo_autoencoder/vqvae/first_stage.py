"""VQ-VAE's first stage: an image becomes a small image of discrete codes, and comes back from it.

van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning", 2017, https://arxiv.org/abs/1711.00937.

    L = -log p(x | z) + |sg(h) - e|^2 + beta |h - sg(e)|^2,    h = encoder(x), e = e_z the nearest codes    (equation 3)

The second term, which moves the codebook, is replaced by moving averages (appendix A.1, `quantisers.py`), as the paper
does itself; with finite scalar quantisation both of the last terms fall away. p(x | z) is a distribution over integer
pixels, so that the second stage has a likelihood; the paper's Gaussian is none of pixels.

The networks are those of section 4.1, convolutions of stride 2 and residual blocks (ReLU, 3x3, ReLU, 1x1), with two
differences: kernels of 3 instead of 4 and, on the way back, enlargement to nearest neighbours and a convolution instead
of a transposed one, so that odd sides come back exactly.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoencoder import checks
from zoo_autoencoder.networks import sides
from zoo_autoencoder.observation import Observation
from zoo_autoencoder.vqvae.config import VQVAECodesConfig
from zoo_autoencoder.vqvae.quantisers import VectorQuantiser, perplexity, quantiser
from zoo_core.errors import ZooError
from zoo_core.images import Batch, from_unit, to_signed
from zoo_core.pixels import PixelDistribution
from zoo_core.specs import ImageSpec
from zoo_core.step import Step, Trainable

RESTART_EVERY = 20  # steps: rarely enough to cost nothing, often enough that no code is idle for long
LAST_RESTART = 0.9  # of the training: the decoder has to learn what a moved code means
OUTPUTS = 2**21  # decoder outputs that one evaluation pass holds


class VQVAECodes(Trainable):
    """Encoder, quantiser, decoder. It draws nothing: `vqvae` learns the distribution of its codes."""

    config: VQVAECodesConfig

    def __init__(self, images: ImageSpec, config: VQVAECodesConfig) -> None:
        super().__init__(images, config)
        self.observation = Observation(images, config.pixels, config.components)
        self.quantiser = quantiser(config)
        sizes = sides(images, len(config.widths) - 1, lambda halvings: f"give at most {halvings + 1} widths")
        height, width = sizes[-1]
        self.code_images = ImageSpec(
            channels=1, height=height, width=width, levels=config.alphabet, classes=images.classes
        )
        self.encoder = Encoder(images.channels, config, self.quantiser.dimension)
        self.decoder = Decoder(sizes, config, self.quantiser.dimension, self.observation.per_place)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Equation 3, then equations 6 to 8 with statistics of the whole batch, whatever parts of it are where."""
        if isinstance(self.quantiser, VectorQuantiser):
            first = step.index == 0 and not self.quantiser.initialised  # never a look at the device after that
            due = step.index % RESTART_EVERY == 0 and self.config.restart > 0
            if first or (due and step.progress < LAST_RESTART):
                h = step.gather(lambda part: self.latents(part.x), batch)
                self.quantiser.restart(h, step.index, everything=first)
                self.quantiser.initialised.fill_(True)
        out: dict[str, Tensor] = step.minimize(self.loss, batch)  # type: ignore[assignment]
        statistics = {name: out.pop(name) for name in ("count", "sum") if name in out}
        self.quantiser.update(statistics)
        return {**out, "perplexity": perplexity(statistics["count"])}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """nats per image: `loss`, and its part -log p(x | z) as `nll`; the quantiser's statistics."""
        h = self.latents(batch.x)
        z, codes, committed = self.quantiser(h)
        nats = self.log_likelihood(batch.x, z)
        statistics = self.quantiser.statistics(h.detach(), codes)
        return {"loss": (committed - nats).mean(), "nll": -nats.detach().mean(), **statistics}

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The codes of integer images: images themselves, uint8 `(N, 1, h, w)` of K levels."""
        return self.codes(checks.some(x, self.images))

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """`encode` without a check, which on a GPU would wait for the device.

        In half precision some codes would be others, and a prior be trained on other codes than it is scored on.
        """
        with torch.autocast(x.device.type, enabled=False):
            return self.quantiser.codes(self.latents(x)).to(torch.uint8).unsqueeze(1)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """The mean of p(x | z), rounded to the nearest level. codes: as `encode` gives them. uint8 `(N, C, H, W)`."""
        top = self.images.levels - 1
        parts = self.check_codes(codes).split(self.rows)
        return torch.cat([from_unit(self.distribution(self.vectors(part)).mean() / top, self.images) for part in parts])

    def reconstruct(self, x: Tensor) -> Tensor:
        """`decode(encode(x))`, uint8 `(N, C, H, W)`."""
        return self.decode(self.encode(x))

    def latents(self, x: Tensor) -> Tensor:
        """What is quantised, at least float32, `(N, d, h, w)`. x: uint8 `(N, C, H, W)`."""
        h: Tensor = self.encoder(to_signed(x, self.images).to(next(self.parameters()).dtype))
        return h.to(torch.promote_types(h.dtype, torch.float32))

    def vectors(self, codes: Tensor) -> Tensor:
        """What the decoder takes for codes `(N, 1, h, w)`: `(N, d, h, w)`."""
        return self.quantiser.vectors(codes.squeeze(1).long()).to(next(self.parameters()).dtype)

    def distribution(self, z: Tensor) -> PixelDistribution:
        """p(x | z). z: `(N, d, h, w)`, of the quantiser."""
        return self.observation.distribution(self.decoder(z))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z). nats, `(N,)`."""
        return self.observation.log_likelihood(x, self.decoder(z).unsqueeze(1)).squeeze(1)

    def check_codes(self, codes: Tensor) -> Tensor:
        """`codes`, if they are of this model, at least one image; `ZooError` otherwise."""
        try:
            return checks.some(codes, self.code_images)
        except ZooError as error:
            raise ZooError(
                f"{type(self).__name__}.decode: expected codes as encode() gives them, images of {self.code_images}: "
                f"{error}"
            ) from error

    @property
    def rows(self) -> int:
        """Images that one evaluation pass decodes."""
        return max(1, OUTPUTS // self.observation.outputs)


class Block(nn.Module):
    """x + (ReLU, 3x3, ReLU, 1x1)(x) (section 4.1)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Conv2d(width, hidden, 3, padding=1), nn.Conv2d(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(F.relu(self.inner(F.relu(x))))  # type: ignore[no-any-return]


class Encoder(nn.Sequential):
    """`(N, C, H, W)` -> `(N, outputs, h, w)`: a convolution of stride 2 from each of `widths` to the next."""

    def __init__(self, channels: int, config: VQVAECodesConfig, outputs: int) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, config.widths[0], 3, padding=1)]
        for before, after in itertools.pairwise(config.widths):
            layers += [nn.ReLU(), nn.Conv2d(before, after, 3, stride=2, padding=1)]
        layers += [Block(config.widths[-1], config.hidden) for _ in range(config.blocks)]
        super().__init__(*layers, nn.ReLU(), nn.Conv2d(config.widths[-1], outputs, 1))


class Decoder(nn.Module):
    """`(N, d, h, w)` -> `(N, outputs H W)`, channels first. sizes: the image's sides and those after each halving."""

    def __init__(self, sizes: list[tuple[int, int]], config: VQVAECodesConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.sizes = sizes[:-1]
        widths = config.widths[::-1]
        self.start = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.blocks = nn.Sequential(*(Block(widths[0], config.hidden) for _ in range(config.blocks)))
        self.features = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        self.out = nn.Conv2d(widths[-1], outputs, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.blocks(self.start(z))
        for layer, size in zip(self.features, reversed(self.sizes)):
            h = layer(F.interpolate(F.relu(h), size=size, mode="nearest"))
        return self.out(F.relu(h)).flatten(1)  # type: ignore[no-any-return]
