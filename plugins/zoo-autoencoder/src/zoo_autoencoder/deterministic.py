"""Autoencoders without a likelihood: an encoder, a decoder, an error of reconstruction, a density fitted afterwards.

    L(x, r) = - sum_d x_d ln r_d + (1 - x_d) ln (1 - r_d)     "cross_entropy", r = sigmoid(output)
    L(x, r) = sum_d (x_d - r_d)^2                             "squared", r = output

G. Hinton, R. Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", 2006,
https://doi.org/10.1126/science.1127647. x: pixels in [0, 1]. Losses here are L / D, per subpixel, so that one learning
rate suits images of any size. The cross-entropy of grey pixels is no -log P(x): nothing here is a likelihood.

Such a model knows no distribution of codes, so it cannot draw images by itself. `finish` fits one to the codes of the
training images (`code_density.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from zoo_autoencoder import networks
from zoo_autoencoder.code_density import CodeDensity
from zoo_autoencoder.codes import ModelWithCodes
from zoo_autoencoder.deterministic_config import DeterministicConfig
from zoo_autoencoder.tied import TiedDecoder
from zoo_core.errors import ZooError
from zoo_core.images import Batch, from_unit, to_unit
from zoo_core.specs import ImageSpec
from zoo_core.step import Step

UNITS = {"linear": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
RANGE = {"linear": (None, None), "sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, None)}
ROWS = 1000  # images or codes in one pass of evaluation


class DeterministicAutoencoder(ModelWithCodes):
    """What the models of this kind share; a model's own idea is its `loss`."""

    config: DeterministicConfig

    def __init__(self, images: ImageSpec, config: DeterministicConfig) -> None:
        super().__init__(images, config)
        self.encoder = networks.encoder(images, config, config.latent)
        self.units = UNITS[config.code]()
        self.decoder: nn.Module
        if config.tied:
            self.decoder = TiedDecoder(self.encoder, config)  # type: ignore[arg-type]
        else:
            self.decoder = networks.decoder(images, config, config.latent, images.channels)
        self.density = CodeDensity(config.latent, config.density)

    @property
    def latent(self) -> int:
        return self.config.latent

    @property
    def can_draw(self) -> bool:
        """Whether a density has been fitted to the codes; until then there are reconstructions, but no samples."""
        return bool(self.density.fitted)

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """AdamW, fused: one operation at a time, updates would be a good part of a training step on a CPU."""
        return {"model": AdamW(self.parameters(), lr=lr, weight_decay=self.config.weight_decay, fused=True)}

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """A step down the gradient of `loss`."""
        metrics: dict[str, Tensor] = step.minimize(self.loss, batch)  # type: ignore[assignment]
        return metrics

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """L(x, g(f(x))) per subpixel; "mse", the squared error of the same pixels, beside it."""
        v = self.unit(batch.x)
        return self.reconstruction(v, self.output(self.codes(v)))

    def reconstruction(self, v: Tensor, output: Tensor) -> dict[str, Tensor]:
        """L / D ("loss") of pixels `v` `(N, C, H, W)` in [0, 1] and the decoder's `output`, and the "mse": means."""
        mse = (self.pixels(output).detach() - v).square().mean()
        if self.config.loss == "squared":
            return {"loss": (output - v).square().mean(), "mse": mse}
        return {"loss": F.binary_cross_entropy_with_logits(output, v), "mse": mse}

    def unit(self, x: Tensor) -> Tensor:
        """Integer images at [0, 1], in the precision of the parameters."""
        return to_unit(x, self.images).to(self.dtype)

    def codes(self, v: Tensor) -> Tensor:
        """f(v), codes `(N, latent)` of real images `(N, C, H, W)`; in float32 under autocast: penalties add them up."""
        return self.units(self.encoder(v).to(self.dtype))  # type: ignore[no-any-return]

    def output(self, z: Tensor) -> Tensor:
        """The decoder's numbers for codes `(M, latent)`, before a logistic function if there is one. `(M, C, H, W)`."""
        flat = self.decoder(z, self.encoder) if self.config.tied else self.decoder(z)
        return flat.view(len(z), *self.images.shape)  # type: ignore[no-any-return]

    def pixels(self, output: Tensor) -> Tensor:
        """g(z) from the decoder's numbers; linear pixels may lie outside [0, 1]."""
        return output.sigmoid() if self.config.loss == "cross_entropy" else output

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """f(x), `(N, latent)`."""
        return torch.cat([self.codes(self.unit(part)) for part in self.check(x).split(ROWS)])

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """g(z), rounded to the nearest level. z: `(N, latent)`. uint8 `(N, C, H, W)`."""
        parts = self.check_codes(z).split(ROWS)
        return torch.cat([from_unit(self.pixels(self.output(part)), self.images) for part in parts])

    def finish(self, step: Step) -> None:
        """Fit the density to the codes of all training images: from here on the model can draw."""
        self.density.fit(step.gather(lambda part: self.codes(self.unit(part.x))))

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Codes from the density, decoded; a code outside its units' range is put onto its edge. uint8 `(n, C, H, W)`.

        `ZooError` before `finish`: an autoencoder by itself has no distribution to draw codes from.
        """
        self.check_request(n, labels, text)
        if not self.can_draw:
            name = type(self).__name__
            raise ZooError(
                f"{name}.sample: no density has been fitted to this model's codes yet, so there is nothing to draw "
                f"from; `zoo train` fits one when the training ends (in Python, step.finish()); until then: "
                "reconstruct, interpolate, or decode codes of your own"
            )
        z = self.density.draw(n, generator)
        return self.decode(z.clamp(*RANGE[self.config.code]) if self.config.code != "linear" else z)
