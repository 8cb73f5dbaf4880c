"""Denoising diffusion probabilistic models.

Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", 2020, https://arxiv.org/abs/2006.11239.

    q(x_t | x_0) = N(sqrt(abar_t) x_0, (1 - abar_t) I)                       noise is added, t = 1 .. T    (eq. 4)
    p(x_{t-1} | x_t) = N(mu~_t(x_t, x^_0), sigma_t^2 I),  p(x_T) = N(0, I)   and taken away             (eqs. 1, 7)
    L_simple = E |eps - eps_theta(sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, t)|^2                          (eq. 14)
    -log P(x_0) <= L_T + sum_{t > 1} L_{t-1} + L_0                                                         (eq. 5)

x^_0 is the image that the network believes to be behind x_t; mu~_t of it is the mean of eq. 11, written by eq. 7.
Pixels are scaled to [-1, 1] as in the paper, or to [-s, s] by `scale = s`: Chen, "On the Importance of Noise Scheduling
for Diffusion Models", 2023, https://arxiv.org/abs/2301.10972, section 2.2. Where pixels vary little, unit noise would
otherwise drown what there is to see at most steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from zoo_core.chunks import per_image
from zoo_core.errors import ZooError
from zoo_core.images import Batch, from_signed, to_signed
from zoo_core.labels import ClassFrequencies
from zoo_core.model import GenerativeModel
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_diffusion.configs import DDPMConfig
from zoo_diffusion.decoder import log_bin
from zoo_diffusion.schedule import Schedule
from zoo_diffusion.unet import UNet

# Numbers in one layer's output that an evaluation pass holds, 16 MB in float32: memory is bounded by this for any
# number of images, steps and draws.
OUTPUTS = 2**22
TIMES = 1000  # what the network is told at t = T: the embedding of times is made for the paper's 1,000 steps


class DDPM(GenerativeModel):
    """The paper's model; with `conditional`, the U-Net also knows the label."""

    config: DDPMConfig
    variance: Tensor

    def __init__(self, images: ImageSpec, config: DDPMConfig) -> None:
        super().__init__(images, config)
        if config.conditional and images.classes < 1:
            raise ZooError(f"DDPMConfig.conditional: expected images with classes, got {images}")
        classes = images.classes if config.conditional else 0
        self.conditioning = "class" if classes else "none"
        self.frequencies = ClassFrequencies(classes) if classes else None
        self.network = UNet(images, config.unet, classes=classes)
        self.schedule = Schedule(config.schedule, config.steps)
        self.register_buffer("variance", reverse_variance(self.schedule, config), persistent=False)

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """Fused, because a small U-Net has many small parameters, and one call for each of them takes its time."""
        return {"model": AdamW(self.parameters(), lr=lr, weight_decay=0.0, fused=True)}

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Algorithm 1."""
        if self.frequencies is not None:
            if batch.labels is None:
                raise ZooError("DDPM is conditional: its training images need labels; give Batch(x, labels=…)")
            self.frequencies.count(batch, step)
        t = step.randint(self.config.steps, batch) + 1  # (N,), 1 .. T
        eps = step.randn(batch, *self.images.shape)
        return {"loss": step.minimize(self.loss, batch.with_(t=t, eps=eps))}  # type: ignore[dict-item]

    def loss(self, batch: Batch) -> Tensor:
        """Equation 14: the mean squared error of what the network gives out; or, by `weighting`, the bound itself.

        The latter is E_t[T L_{t-1}] / D, an unbiased estimate of all of equation 5 that can be learned; nats/dim.
        """
        t, eps = batch.extra["t"], batch.extra["eps"]
        labels = batch.labels if self.frequencies is not None else None
        if self.config.weighting == "elbo":
            term = self.term(batch.x, t, eps, labels, clip=False)  # clipped pixels would have no gradient
            return term.mean() * (self.config.steps / self.images.dims)
        image = self.scaled(batch.x, eps)
        out = self.network(self.diffuse(image, t, eps), self.times(t), labels)
        return (out - self.target(image, t, eps)).square().mean()

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Algorithm 2, all T steps; the last is its mean without noise, rounded to the nearest level.

        Without labels a conditional model draws them with their training frequencies. uint8 `(n, C, H, W)`.
        """
        self.check_request(n, labels, text)
        if self.frequencies is not None and labels is None:
            labels = self.frequencies.draw(n, generator)
        x = per_image(n, lambda rows: self.noise(rows, generator))
        for t in range(self.config.steps, 0, -1):
            times = torch.full((n,), t, device=x.device)
            x = self.mean(x, times, self.denoised(x, times, labels))
            if t > 1:
                x = x + self.variance[t].sqrt() * per_image(n, lambda rows: self.noise(rows, generator))
        return from_signed(x / self.config.scale, self.images)

    @torch.no_grad()
    def elbo(
        self,
        x: Tensor,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        draws: int = 1,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """Equation 5 in K levels: an unbiased estimate of the bound, averaged over `draws`. nats, float64 `(N,)`.

        L_T is in closed form; L_0 and each L_{t-1}, a divergence in closed form too, take one noisy x_t a draw. steps:
        how many of the T - 1 divergences a draw looks at, one at random in each of `steps` ranges of t, instead of all
        (default: the config's `elbo_steps`).
        """
        self.check(x, labels, text)
        if draws < 1:
            raise ZooError(f"DDPM.elbo: expected draws >= 1, got {draws}")
        if steps is None:
            steps = self.config.elbo_steps or self.config.steps - 1
        if not 1 <= steps < self.config.steps:
            raise ZooError(f"DDPM.elbo: expected steps of 1 to T - 1 = {self.config.steps - 1}, got {steps}")
        parts = []
        for start in range(0, len(x), self.rows):
            rows = slice(start, start + self.rows)
            parts.append(self.bound(x[rows], None if labels is None else labels[rows], draws, steps, generator))
        return torch.cat(parts)

    def bound(
        self, x: Tensor, labels: Tensor | None, draws: int, steps: int, generator: torch.Generator | None
    ) -> Tensor:
        """`elbo` of at most `rows` images; several steps of a few images go through the network together."""
        total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        together = max(1, self.rows // len(x))
        for _ in range(draws):
            times, weights = self.terms(steps, len(x), generator)  # (M, N), (M,)
            for t, weight in zip(times.split(together), weights.split(together)):
                eps = torch.cat([self.noise(len(x), generator) for _ in t])  # (m N, C, H, W)
                copies = None if labels is None else labels.repeat(len(t))
                nats = self.term(x.repeat(len(t), 1, 1, 1), t.flatten(), eps, copies)
                total += weight @ nats.double().view(t.shape)
        return -(self.prior(x) + total / draws)

    def terms(self, steps: int, n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Which terms of equation 5 to look at, t int64 `(M, n)`, and how many each stands for, float64 `(M,)`.

        t = 1, the decoder, is always the first. 2 .. T are cut into `steps` ranges; each image has a t from each.
        """
        last = self.config.steps - 1
        edges = torch.arange(steps + 1, device=self.device) * last // steps  # (M,), 0 .. T - 1
        size = edges.diff().unsqueeze(1)  # (M - 1, 1)
        within = torch.zeros(steps, n, dtype=torch.int64, device=self.device)
        if steps < last:
            u = torch.rand(steps, n, generator=generator, device=self.device)
            within = torch.minimum((u * size).long(), size - 1)
        times = torch.cat([torch.ones_like(within[:1]), 2 + edges[:-1].unsqueeze(1) + within])
        return times, torch.cat([torch.ones_like(size[:1]), size]).squeeze(1).double()

    def term(self, x: Tensor, t: Tensor, eps: Tensor, labels: Tensor | None, *, clip: bool | None = None) -> Tensor:
        """L_{t-1} of equation 5 at x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps. nats, `(N,)`.

        t > 1: KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)), two Gaussians, which is, with r = beta~_t / sigma_t^2,
        D/2 (r - 1 - log r) + |mu~_t(x_t, x_0) - mu~_t(x_t, x^_0)|^2 / (2 sigma_t^2).
        t = 1: minus the logarithm of the discretised decoder, equation 13.
        """
        image, variance = self.scaled(x, eps), self.variance[t]
        noisy = self.diffuse(image, t, eps)
        guess = self.denoised(noisy, t, labels, clip=clip)
        # x_t has the same share in both means, so it is left out of their difference.
        distance = (image - guess).flatten(1).square().sum(1) * self.schedule.from_image[t].square()
        ratio = (self.schedule.beta_tilde[t] / variance).where(t > 1, 1.0)
        divergence = 0.5 * (self.images.dims * (ratio - 1 - ratio.log()) + distance / variance)
        scale = self.config.scale
        decoded = log_bin(x, self.mean(noisy, t, guess) / scale, column(variance.sqrt()) / scale, self.images.levels)
        return torch.where(t == 1, -decoded.flatten(1).sum(1), divergence)

    def prior(self, x: Tensor) -> Tensor:
        """L_T = KL(q(x_T | x_0) || N(0, I)) = (abar |x_0|^2 - D (abar + log(1 - abar))) / 2. nats, float64 `(N,)`."""
        abar = self.schedule.signal[-1].double().square()
        square = (to_signed(x, self.images).double() * self.config.scale).flatten(1).square().sum(1)
        return 0.5 * (abar * square - self.images.dims * (abar + torch.log1p(-abar)))

    def denoised(self, x: Tensor, t: Tensor, labels: Tensor | None, *, clip: bool | None = None) -> Tensor:
        """x^_0, the image that the network believes to be behind x_t. x: `(N, C, H, W)`, in parts of `rows`."""
        parts = []
        for start in range(0, len(x), self.rows):
            rows = slice(start, start + self.rows)
            out = self.network(x[rows], self.times(t[rows]), None if labels is None else labels[rows])
            parts.append(self.guess(x[rows], t[rows], out.to(x.dtype)))
        image = torch.cat(parts)
        most = self.config.scale
        return image.clamp(-most, most) if (self.config.clip if clip is None else clip) else image

    def guess(self, x: Tensor, t: Tensor, out: Tensor) -> Tensor:
        """x^_0 from what the network gave out at x_t."""
        signal, noise = column(self.schedule.signal[t]), column(self.schedule.noise[t])
        if self.config.prediction == "eps":
            return (x - noise * out) / signal
        return out if self.config.prediction == "x" else signal * x - noise * out

    def target(self, image: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """What the network is to give out: eps; x_0; or v = sqrt(abar_t) eps - sqrt(1 - abar_t) x_0.

        v: Salimans, Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", 2022,
        https://arxiv.org/abs/2202.00512, section 4.
        """
        if self.config.prediction == "eps":
            return eps
        if self.config.prediction == "x":
            return image
        return column(self.schedule.signal[t]) * eps - column(self.schedule.noise[t]) * image

    def diffuse(self, image: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_t, equation 4. image, eps: `(N, C, H, W)`. t: int64 `(N,)`."""
        return column(self.schedule.signal[t]) * image + column(self.schedule.noise[t]) * eps

    def mean(self, x: Tensor, t: Tensor, image: Tensor) -> Tensor:
        """mu~_t(x_t, x_0), equation 7."""
        return column(self.schedule.from_image[t]) * image + column(self.schedule.from_noisy[t]) * x

    def times(self, t: Tensor) -> Tensor:
        """t as the network is told it."""
        return t * (TIMES / self.config.steps)

    def scaled(self, x: Tensor, like: Tensor) -> Tensor:
        """Integers to [-scale, scale], in the precision of `like`."""
        return to_signed(x, self.images).to(like.dtype) * self.config.scale

    def noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Standard normal, `(n, C, H, W)`, where and in what precision the model is."""
        like = self.variance
        return torch.randn(n, *self.images.shape, generator=generator, device=like.device, dtype=like.dtype)

    @property
    def rows(self) -> int:
        """Images that one evaluation pass takes."""
        return max(1, OUTPUTS // (self.config.unet.width * self.images.height * self.images.width))


def reverse_variance(schedule: Schedule, config: DDPMConfig) -> Tensor:
    """sigma_t^2 for t = 0 .. T (section 3.2). beta~_1 is 0, no variance for a decoder, so beta~_2 stands in for it."""
    if config.variance == "beta":
        return schedule.beta.clone()
    return torch.cat([schedule.beta_tilde[:1], schedule.beta_tilde[2:3], schedule.beta_tilde[2:]])


def column(values: Tensor) -> Tensor:
    """One number for each image, to be multiplied with images. `(N,)` -> `(N, 1, 1, 1)`."""
    return values.view(-1, 1, 1, 1)
