"""Wrong models, each a right one with one bug that people make, and the law that catches it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from right_models import (
    Affine,
    Boltzmann,
    Captioned,
    Chain,
    Dequantised,
    Labelled,
    Logistic,
    OnlyElbo,
    PrincipalAxes,
    RunningTable,
    Softmax,
    Table,
    TwoStates,
)
from torch import nn

from zoo_core.images import quantise
from zoo_core.specs import ImageSpec
from zoo_core.step import Trainable
from zoo_core.testing import BINARY, COLOUR, FOUR_LEVELS, TWO_PIXELS


class PixelSeesItself(Chain):
    """A mask with its diagonal."""

    def sees(self, dims):
        return torch.ones(dims, dims).tril(0)


class PixelSeesLater(Chain):
    """A mask that is off by one."""

    def sees(self, dims):
        return torch.ones(dims, dims).tril(1)


class PixelIsBlind(Chain):
    """The last conditional misses the first subpixel: a blind spot. Still a distribution, and sampled as it is."""

    def sees(self, dims):
        mask = super().sees(dims)
        mask[-1, 0] = 0
        return mask


class TemperatureOnlyInSample(Chain):
    """Samples are sharper than the likelihood says."""

    def sample(self, n, **options):
        return super().sample(n, temperature=0.7, **options)


class GlobalNoise(Chain):
    """A generator that is not passed on."""

    def sample(self, n, *, labels=None, text=None, generator=None):
        return super().sample(n, labels=labels, text=text)


class NoiseOfAllAtOnce(Affine):
    """Noise that is filled in another way for another number of images, which torch does from 16 numbers on."""

    def sample(self, n, *, labels=None, text=None, generator=None):
        self.check_request(n, labels, text)
        return quantise(self.inverse(torch.randn(n, *self.images.shape, generator=generator)), self.images)


class LabelsOfAllAtOnce(Labelled):
    """Where they are drawn, they leave the generator elsewhere for another number of images."""

    def condition(self, n, labels=None, text=None, generator=None):
        if labels is None:
            labels = torch.multinomial(self.frequencies.share, n, replacement=True, generator=generator)
        return super().condition(n, labels)


class NoCheck(Chain):
    """Takes whatever it is given for an image."""

    def log_prob(self, x, *, labels=None, text=None):
        return self.log_conditionals(x.to(torch.uint8) % self.images.levels).sum(1)


class Unsaved(Chain):
    """A number that sampling needs and the weights lack."""

    def __init__(self, images, config):
        super().__init__(images, config)
        self.seen = 0

    def train_step(self, batch, step):
        self.seen += 1
        return super().train_step(batch, step)

    def sample(self, n, **options):
        return super().sample(n, temperature=1 if self.seen else 0.1, **options)


class DeadParameter(Chain):
    """A parameter that no loss depends on."""

    def __init__(self, images, config):
        super().__init__(images, config)
        self.unused = nn.Parameter(torch.ones(3))


class SumLoss(Chain):
    """A sum over the batch instead of a mean: micro-batches weigh their images by their own size."""

    def loss(self, batch):
        return super().loss(batch) * len(batch)


class HiddenCount(Chain):
    """A schedule by a counter that a checkpoint doesn't know."""

    def __init__(self, images, config):
        super().__init__(images, config)
        self.count = 0

    def train_step(self, batch, step):
        self.count += 1
        return {"loss": step.minimize(lambda part: self.loss(part) + self.bias.square().sum() * self.count, batch)}


class SampleIgnoresLabels(Labelled):
    """Labels are taken and not used."""

    def sample(self, n, *, labels=None, text=None, generator=None):
        self.check_request(n, labels, text)
        return super().sample(n, generator=generator)


class ModelIgnoresLabels(Chain):
    """An unconditional model that says it is conditional."""

    conditioning = "class"


class IgnoresText(Captioned):
    """Captions are taken and not used."""

    def condition(self, n, labels=None, text=None, generator=None):
        return 0 * super().condition(n, labels, text, generator)


class ElboIgnoresLabels(Labelled):
    """Samples and log_prob know their labels; the bound is one on log P(x), not on log P(x | label)."""

    def elbo(self, x, *, labels=None, text=None, draws=1, generator=None):
        self.check(x, labels, text)
        classes = range(self.images.classes)
        each = torch.stack([self.log_prob(x, labels=torch.full((len(x),), k)) for k in classes])  # (classes, N)
        return each.logsumexp(0) - math.log(len(each))


class NoTails(Logistic):
    """The edge bins are bins like all others: the mass outside [0, 1] is lost."""

    def cumulative(self):
        return self.cdf(torch.arange(self.images.levels + 1) / self.images.levels)


class ElboNamedLogProb(TwoStates):
    """An ELBO that goes by the name of log_prob; random."""

    def log_prob(self, x, *, labels=None, text=None):
        return self.elbo(x, labels=labels, text=text)


class SeededElboNamedLogProb(TwoStates):
    """The same with a fixed seed inside: two calls agree bit for bit."""

    def log_prob(self, x, *, labels=None, text=None):
        return self.elbo(x, labels=labels, text=text, generator=torch.Generator().manual_seed(0))


class ForgotLogN(TwoStates):
    """A sum over importance samples where a mean should be."""

    def iwae(self, x, n, **options):
        return super().iwae(x, n, **options) + math.log(n)


class ForgotEntropy(TwoStates):
    """ln p(x, z) without - ln q(z | x), in both bounds."""

    def draws(self, x, n, generator):
        log_x, log_prior, log_q = self.terms(x)
        z = torch.rand(len(x), n, generator=generator) < log_q[:, 1:].exp()
        return (log_x + log_prior).gather(1, z.long())


class WrongSignOfKL(OnlyElbo):
    """E_q[ln p(x | z)] + KL(q(z | x) || p(z)), which nothing but its size gives away."""

    def elbo(self, x, **options):
        _, log_prior, log_q = self.terms(self.check(x))
        return super().elbo(x, **options) + 2 * (log_q.exp() * (log_q - log_prior)).sum(1)


class ElboAboveIwae(TwoStates):
    """A constant too many in one of two bounds."""

    def elbo(self, x, **options):
        return super().elbo(x, **options) + 0.1


class ForgotDLnK(Dequantised):
    """A dequantisation bound without the volume of a pixel's cell."""

    def bound(self, v, log_volume):
        return self.density(v)


class ForgotPi(Affine):
    """A normal density without its constant."""

    def density(self, v):
        return super().density(v) + math.log(2 * math.pi) * self.images.dims / 2


class WrongSignOfLogDet(Affine):
    """The log-determinant of the inverse."""

    def flow(self, v):
        z, log_det = super().flow(v)
        return z, -log_det


class Unweighted(Table):
    """Statistics of micro-batches, averaged as if these were of one size."""

    def statistics(self, step):
        parts = step.gather(lambda part: {key: value[None] for key, value in self.expectation(part).items()})
        return {key: value.mean(0) for key, value in parts.items()}


class Overshoots(Table):
    """An M step that goes beyond the maximum."""

    stride = 1.9


class OvershootsAtTimes(RunningTable):
    """Running means; from time to time two full passes, whose M step goes beyond the maximum."""

    def train_step(self, batch, step):
        if step.index % 4 < 2:
            return super().train_step(batch, step)
        self.table += 2.5 * (step.mean(self.expectation)["count"] - self.table)
        self.table.clamp_(min=1e-6).div_(self.table.sum(1, keepdim=True))
        return {}


class ForgotLogZOfBase(Boltzmann):
    """Annealed importance sampling estimates Z / Z_base; this takes it for Z."""

    def log_z_base(self):
        return 0.0


class ReplayIsNotInState(Boltzmann):
    """The chains are an attribute of the model, which a checkpoint doesn't know: a resumed training starts new ones."""

    replay = None

    def chains(self, step, batch):
        return torch.zeros_like(batch.x.flatten(1)) if self.replay is None else self.replay

    def keep(self, step, s):
        self.replay = s


class ContrastsWithinMicroBatch(PrincipalAxes):
    """An encoder that tells each image from the others: from whatever others a micro-batch happens to hold."""

    def loss(self, batch):
        z = self.encode(batch.x)
        return F.cross_entropy(z @ z.T, torch.arange(len(z)))


class UnusedHead(Softmax):
    """A classifier with a second head that no loss depends on."""

    def __init__(self, images, config):
        super().__init__(images, config)
        self.head = nn.Linear(images.dims, 2)


class ForgetsItsMomentum(Softmax):
    """A running mean of the weights, which the training steers by and a checkpoint doesn't know."""

    mean = 0

    def train_step(self, batch, step):
        self.mean = 0.5 * self.mean + 0.5 * self.linear.weight.detach().clone()
        pull = lambda part: self.loss(part) + (self.linear.weight - self.mean).square().sum()  # noqa: E731
        return {"loss": step.minimize(pull, batch)}


class Wrong(NamedTuple):
    """A bug, the law that catches it, the size of image it is caught at, and what the law says."""

    model: type[Trainable]
    law: str
    images: ImageSpec = FOUR_LEVELS
    says: str = ""

    def __str__(self) -> str:
        size = "" if self.images == FOUR_LEVELS else f"-{self.images.levels}-levels"
        return f"{self.model.__name__}-{self.law}{size}"


WRONG = [
    Wrong(PixelSeesItself, "normalised", says="P sums to"),
    Wrong(PixelSeesLater, "ordered", says="depend on later"),
    Wrong(PixelIsBlind, "ordered", says="don't see it"),
    Wrong(TemperatureOnlyInSample, "sampled", says="standard deviations from the likelihood"),
    Wrong(GlobalNoise, "samples", says="still used the global one"),
    Wrong(NoiseOfAllAtOnce, "samples", says="the 5 samples of a seed are not the first of its 12"),
    Wrong(LabelsOfAllAtOnce, "samples", says="the 5 samples of a seed are not the first of its 12"),
    Wrong(NoCheck, "samples", says="a float image"),
    Wrong(Unsaved, "samples", says="differ after saving and loading"),
    Wrong(DeadParameter, "builds", says="parameter unused had no gradient"),
    Wrong(SumLoss, "accumulates", says="micro-batches"),
    Wrong(HiddenCount, "resumes", says="a training resumed"),
    Wrong(SampleIgnoresLabels, "labels", says="standard errors at most"),
    Wrong(ModelIgnoresLabels, "labels", says="standard errors at most"),
    Wrong(IgnoresText, "labels", says="standard errors at most"),
    Wrong(ElboIgnoresLabels, "labels", says="elbo must find images of class 0 likelier under their own label"),
    Wrong(NoTails, "normalised", says="P sums to 0"),
    Wrong(ElboNamedLogProb, "normalised", says="two calls of log_prob differ"),
    Wrong(SeededElboNamedLogProb, "normalised", says="P sums to"),
    Wrong(SeededElboNamedLogProb, "normalised", BINARY, says="P sums to"),
    Wrong(ForgotLogN, "bounded", says="exp.iwae. sums to"),
    Wrong(ForgotEntropy, "bounded", says="exp.iwae. sums to"),
    Wrong(WrongSignOfKL, "bounded", says="exp.elbo. sums to"),
    Wrong(ElboAboveIwae, "bounded", says="exp.elbo. sums to"),
    Wrong(ForgotDLnK, "bounded", says="exp.elbo. sums to"),
    Wrong(ForgotDLnK, "bounded", COLOUR, says="exp.elbo. sums to"),
    Wrong(ForgotDLnK, "bounded", TWO_PIXELS, says="exp.elbo. sums to"),
    Wrong(ForgotPi, "integrates", TWO_PIXELS, says="integrates to"),
    Wrong(WrongSignOfLogDet, "inverts", says="differs from autograd's"),
    Wrong(WrongSignOfLogDet, "integrates", TWO_PIXELS, says="integrates to"),
    Wrong(WrongSignOfLogDet, "sampled-density", TWO_PIXELS, says="standard deviations from the likelihood"),
    Wrong(Unweighted, "accumulates", says="micro-batches"),
    Wrong(Overshoots, "never-falls", says="fell by"),
    Wrong(OvershootsAtTimes, "never-falls", says="fell by"),
    Wrong(ForgotLogZOfBase, "estimated", says="exp.log_prob_estimate. sums to"),
    Wrong(ReplayIsNotInState, "resumes", says="a training resumed"),
    Wrong(ContrastsWithinMicroBatch, "accumulates", says="micro-batches"),
    Wrong(UnusedHead, "builds", says="parameter head.weight had no gradient"),
    Wrong(ForgetsItsMomentum, "resumes", says="a training resumed"),
]
