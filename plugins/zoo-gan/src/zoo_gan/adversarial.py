"""What all adversarial networks share: two players trained in turn, and what can be done with the generator.

    real images        v = x + dither                      d(T(v)), and T the differentiable augmentation, if any
    generated images   v = G(z) + dither, z from the prior d(T(v))
    each step          the discriminator on one set of codes; every `n_critic`-th step also the generator on another

Pixels are scaled to [-1, 1]. A model of this kind brings two networks, a prior of z and the players' losses; what else
it adds to a loss (a gradient penalty) goes into `discriminator_loss`. There is no likelihood.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Adam, Optimizer

from zoo_core.errors import ZooError
from zoo_core.images import Batch, Labels, to_signed
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_gan.adversarial_config import AdversarialConfig
from zoo_gan.augmentation import NUMBERS, augmented
from zoo_gan.latent_generator import PASS, LatentGenerator
from zoo_gan.losses import Losses, NonSaturating

CODES = 16 * PASS  # from which the statistics of batch normalisation are taken at the end


class Adversarial(LatentGenerator):
    """Two players, two optimisers.

    Real pixels are integers and a generator's are not, which a discriminator could tell them by, above all where levels
    are few. So it sees both through the same noise, uniform and as wide as a level: of the real ones that is uniform
    dequantisation, and a generated pixel between two levels looks like one that is sometimes the one and sometimes the
    other.

    generator: from codes `(N, latent)` to pixels `(N, C, H, W)`; discriminator: from pixels to outputs `(N,)`; as
    `generate` and `discriminate` call them, which a model overrides whose networks take more, such as the class.
    """

    losses: Losses = NonSaturating()

    def __init__(
        self,
        images: ImageSpec,
        config: AdversarialConfig,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        conditional: bool = False,
    ) -> None:
        super().__init__(images, config, generator, conditional=conditional)
        self.discriminator = discriminator

    def discriminate(self, v: Tensor, labels: Labels = None) -> Tensor:
        """d(v), `(N,)`."""
        output: Tensor = self.discriminator(v)
        return output

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """Adam for each player."""
        betas = (self.config.beta1, self.config.beta2)
        return {
            "discriminator": Adam(self.discriminator.parameters(), lr=lr * self.config.ratio, betas=betas, fused=True),
            "generator": Adam(self.generator.parameters(), lr=lr, betas=betas, fused=True),
        }

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """A step of the discriminator, then one of the generator on codes of its own where its turn has come."""
        if self.conditioning == "class":
            self.frequencies.count(batch, step)
        d = step.minimize(self.discriminator_loss, self.with_noise(batch, step), "discriminator")
        assert isinstance(d, dict)
        metrics = {"loss/discriminator": d.pop("loss")}
        if step.index % self.config.n_critic == 0:
            g = step.minimize(self.generator_loss, self.with_noise(batch, step), "generator")
            assert isinstance(g, dict)
            metrics["loss/generator"] = g["loss"]
        return {**metrics, **{f"d/{name}": value for name, value in d.items()}}

    def with_noise(self, batch: Batch, step: Step) -> Batch:
        """Codes, and the noise on real and on generated pixels: given these, the losses are deterministic."""
        shape = self.images.shape
        batch = batch.with_(
            z=self.prior.noise(step, batch, self.config.latent),
            on_real=step.rand(batch, *shape),
            on_generated=step.rand(batch, *shape),
        )
        if not self.config.augment:
            return batch
        return batch.with_(augment_real=step.rand(batch, NUMBERS), augment_generated=step.rand(batch, NUMBERS))

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The discriminator's loss; its mean outputs, as the losses read them out, beside it."""
        with torch.no_grad():
            v = self.generated(batch)
        real, generated = self.judged(self.real(batch), batch), self.judged(v, batch)  # (N,), (N,)
        return {"loss": self.losses.discriminator(real, generated), **self.readouts(real, generated)}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The generator's loss."""
        real = self.judged(self.real(batch), batch) if self.losses.paired else None
        return {"loss": self.losses.generator(self.judged(self.generated(batch), batch), real)}

    def readouts(self, real: Tensor, generated: Tensor) -> dict[str, Tensor]:
        """What is logged of the discriminator's outputs."""
        return {"real": self.losses.readout(real).mean(), "generated": self.losses.readout(generated).mean()}

    def judged(self, v: Tensor, batch: Batch) -> Tensor:
        """d(v) for images as the discriminator sees them, `(N,)`, of float32 at least."""
        output = self.discriminate(v, batch.labels if self.conditioning == "class" else None)
        return output.float() if output.dtype in (torch.bfloat16, torch.float16) else output

    def real(self, batch: Batch) -> Tensor:
        """The batch's images as the discriminator sees them, `(N, C, H, W)`."""
        v = self.dithered(to_signed(batch.x, self.images), batch.extra["on_real"])
        return self.changed(v, batch.extra.get("augment_real"))

    def generated(self, batch: Batch) -> Tensor:
        """G(z) as the discriminator sees it, `(N, C, H, W)`."""
        if self.training and len(batch) < 2 and any(isinstance(module, _BatchNorm) for module in self.modules()):
            raise ZooError(
                "batch normalisation has no statistics of a single image: "
                "train with batches and micro-batches of 2 or more, or with norm='none'"
            )
        v = self.generate(batch.extra["z"], batch.labels if self.conditioning == "class" else None)
        return self.changed(self.dithered(v, batch.extra["on_generated"]), batch.extra.get("augment_generated"))

    def dithered(self, v: Tensor, u: Tensor) -> Tensor:
        """v with noise u in [0, 1) as wide as `config.dither` levels; two levels are 2 / (K - 1) apart."""
        return v + (u - 0.5) * (self.config.dither * 2 / (self.images.levels - 1))

    def changed(self, v: Tensor, u: Tensor | None) -> Tensor:
        """T(v): v by the config's augmentation, if there is any."""
        return v if u is None else augmented(v, u, self.config.augment, self.config.strength)

    @torch.no_grad()
    def finish(self, step: Step) -> None:
        """Take the statistics of the generator's batch normalisation anew, layer by layer, over fixed codes.

        Running averages are of weights that were still moving; averaged weights were never run in training; and each
        process has averages of its own. The codes are the same everywhere, so now the statistics are too. Layers are
        taken in the order in which they were registered, which has to be that in which they run.
        """
        layers = [m for m in self.generator.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        if not layers:
            return
        fixed = torch.Generator().manual_seed(0)
        z = self.prior.draw(CODES, self.config.latent, generator=fixed).to(self.device, self.dtype)
        labels = None
        if self.conditioning == "class":
            share = self.frequencies.share.cpu()
            labels = torch.multinomial(share, CODES, replacement=True, generator=fixed).to(self.device)
        with torch.compiler.set_stance("force_eager"):  # a compiled network would not call the hooks
            for layer in layers:
                var, mean = map(torch.stack, zip(*self._statistics(layer, z, labels)))
                layer.running_mean.copy_(mean.mean(0))
                layer.running_var.copy_(var.mean(0) + mean.var(0, correction=0))  # within the parts, and between them

    def _statistics(self, layer: _BatchNorm, z: Tensor, labels: Labels) -> list[tuple[Tensor, Tensor]]:
        """Variance and mean of each feature that enters `layer`, `(features,)` each, for each pass over the codes."""
        found = []

        def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            h = inputs[0].transpose(0, 1).flatten(1)  # (features, ...)
            found.append(torch.var_mean(h.to(layer.running_mean.dtype), 1, correction=0))

        handle = layer.register_forward_pre_hook(look)
        try:
            for start in range(0, len(z), PASS):
                rows = slice(start, start + PASS)
                self.generate(z[rows], None if labels is None else labels[rows])
        finally:
            handle.remove()
        return found
