"""The laws are not vacuous: small right models hold every law, and each wrong one is caught by the law named for it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import zoo_core.testing.twelve_laws
from zoo_core.config import Config
from zoo_core.errors import ZooError
from zoo_core.images import Batch, dequantise, quantise, to_signed
from zoo_core.labels import ClassFrequencies
from zoo_core.model import GenerativeModel, likelihood_of
from zoo_core.pixels import Categorical
from zoo_core.specs import ModelSpec, Paper
from zoo_core.testing import LAWS, BrokenLaw, check, laws

# --- right ------------------------------------------------------------------------------------------------------------


class Chain(GenerativeModel):
    """p(x_d | x_<d): softmax, linear in the earlier subpixels."""

    diagonal = -1  # of the mask: -1 sees only what is earlier

    def __init__(self, images, config):
        super().__init__(images, config)
        dims, levels = images.dims, images.levels
        self.bias = nn.Parameter(torch.zeros(dims, levels))
        self.weight = nn.Parameter(torch.zeros(dims, dims, levels))
        self.register_buffer("mask", torch.ones(dims, dims).tril(self.diagonal)[..., None])

    def pixels(self, x):
        v = to_signed(x, self.images).flatten(1)  # (N, D)
        return Categorical(self.bias + torch.einsum("nj,djk->ndk", v, self.weight * self.mask))

    def log_conditionals(self, x, *, labels=None):
        return self.pixels(x).log_prob(x.flatten(1))

    def log_prob(self, x, *, labels=None, text=None):
        self.check(x, labels, text)
        return self.log_conditionals(x).sum(1)

    def sample(self, n, *, labels=None, text=None, generator=None, temperature=1.0):
        self.check_request(n, labels, text)
        x = torch.zeros(n, self.images.dims, dtype=torch.uint8)
        u = torch.rand(n, self.images.dims, generator=generator)
        for d in range(self.images.dims):
            logits = self.pixels(x.view(n, *self.images.shape)).logits[:, d] / temperature
            x[:, d] = Categorical(logits).icdf(u[:, d])
        return x.view(n, *self.images.shape)

    def loss(self, batch: Batch) -> Tensor:
        return -self.log_conditionals(batch.x).sum(1).mean()

    def train_step(self, batch, step):
        return {"loss": step.minimize(self.loss, batch)}


class TwoStates(GenerativeModel):
    """A VAE whose latent is one of two states: q(z = 1 | x) is logistic, p(x | z) a table."""

    def __init__(self, images, config):
        super().__init__(images, config)
        self.prior = nn.Parameter(torch.zeros(()))
        self.encoder = nn.Linear(images.dims, 1)
        self.decoder = nn.Parameter(0.1 * torch.randn(2, images.dims, images.levels))

    def log_weights(self, x):
        """log p(x, z) - log q(z | x) and q(z = 1 | x). Returns (N, 2) and (N,)."""
        q = self.encoder(to_signed(x, self.images).flatten(1))[:, 0]
        log_q = nn.functional.logsigmoid(torch.stack([-q, q], 1))
        log_prior = nn.functional.logsigmoid(torch.stack([-self.prior, self.prior]))
        log_x = torch.stack(
            [Categorical(table).log_prob(x.flatten(1)).sum(1) for table in self.decoder.unsqueeze(1)], 1
        )
        return log_prior + log_x - log_q, q.sigmoid()

    def draws(self, x, n, generator):
        log_w, q = self.log_weights(x)
        z = torch.rand(len(x), n, generator=generator) < q[:, None]
        return log_w.gather(1, z.long())  # (N, n)

    def iwae(self, x, n, *, labels=None, text=None, generator=None):
        self.check(x, labels, text)
        return self.draws(x, n, generator).logsumexp(1) - math.log(n)

    def elbo(self, x, *, labels=None, text=None, draws=1, generator=None):
        self.check(x, labels, text)
        return self.draws(x, draws, generator).mean(1)

    def sample(self, n, *, labels=None, text=None, generator=None):
        self.check_request(n, labels, text)
        z = torch.rand(n, generator=generator) < self.prior.sigmoid()
        return Categorical(self.decoder[z.long()]).sample(generator).view(n, *self.images.shape)

    def loss(self, batch):
        log_w, q = self.log_weights(batch.x)  # the expectation over two states is a sum: no noise
        return -((1 - q) * log_w[:, 0] + q * log_w[:, 1]).mean()

    def train_step(self, batch, step):
        return {"loss": step.minimize(self.loss, batch)}


class Affine(GenerativeModel):
    """A flow: z = (v - shift) exp(scale), standard normal."""

    sign = 1.0

    def __init__(self, images, config):
        super().__init__(images, config)
        self.shift = nn.Parameter(torch.full(images.shape, 0.5))
        self.scale = nn.Parameter(torch.zeros(images.shape))

    def flow(self, v):
        return (v - self.shift) * self.scale.exp(), self.sign * self.scale.sum().expand(len(v))

    def inverse(self, z):
        return z * (-self.scale).exp() + self.shift

    def density(self, v):
        z, log_det = self.flow(v)
        return log_det - (z.square() + math.log(2 * math.pi)).sum((1, 2, 3)) / 2

    def log_density(self, v, *, labels=None, text=None):
        self.check_real(v, labels, text)
        return self.density(v)

    def sample(self, n, *, labels=None, text=None, generator=None):
        self.check_request(n, labels, text)
        return quantise(self.inverse(torch.randn(n, *self.images.shape, generator=generator)), self.images)

    def loss(self, batch):
        return -self.density((batch.x + batch.extra["u"]) / self.images.levels).mean()

    def train_step(self, batch, step):
        return {"loss": step.minimize(self.loss, batch.with_(u=step.rand(batch, *self.images.shape)))}


class Table(GenerativeModel):
    """Independent subpixels by counting, with add-one smoothing: EM without anything hidden."""

    stride = 1.0  # 1 goes to the maximum

    def __init__(self, images, config):
        super().__init__(images, config)
        self.register_buffer("table", torch.full((images.dims, images.levels), 1 / images.levels))

    def log_prob(self, x, *, labels=None, text=None):
        self.check(x, labels, text)
        return Categorical(self.table.log()).log_prob(x.flatten(1)).sum(1)

    def sample(self, n, *, labels=None, text=None, generator=None):
        self.check_request(n, labels, text)
        return Categorical(self.table.log().expand(n, -1, -1)).sample(generator).view(n, *self.images.shape)

    def expectation(self, batch):
        onehot = nn.functional.one_hot(batch.x.flatten(1).long(), self.images.levels).to(self.table.dtype)
        return {"count": onehot.mean(0), "loss": -self.log_prob(batch.x).mean()}

    def statistics(self, step):
        return step.mean(self.expectation)

    def train_step(self, batch, step):
        statistics = self.statistics(step)
        target = (1 - 1e-4) * statistics["count"] + 1e-4 / self.images.levels
        self.table += self.stride * (target - self.table)
        self.table /= self.table.clamp_(min=1e-6).sum(1, keepdim=True)
        return {"loss": statistics["loss"]}

    def optimizers(self, lr):
        return {}


class Labelled(Chain):
    """A chain for each class."""

    conditioning = "class"

    def __init__(self, images, config):
        super().__init__(images, config)
        self.classes = nn.Parameter(torch.zeros(images.classes, images.dims, images.levels))
        self.frequencies = ClassFrequencies(images.classes)

    def log_prob(self, x, *, labels=None, text=None):
        return self.log_conditionals(self.check(x, labels, text), labels=labels).sum(1)

    def log_conditionals(self, x, *, labels=None):
        return Categorical(self.pixels(x).logits + self.classes[labels]).log_prob(x.flatten(1))

    def sample(self, n, *, labels=None, text=None, generator=None):
        self.check_request(n, labels, text)
        shift = self.classes[self.frequencies.draw(n, generator) if labels is None else labels]
        x = torch.zeros(n, self.images.dims, dtype=torch.uint8)
        for d in range(self.images.dims):
            logits = (self.pixels(x.view(n, *self.images.shape)).logits + shift)[:, d]
            x[:, d] = Categorical(logits).sample(generator)
        return x.view(n, *self.images.shape)

    def loss(self, batch):
        return -self.log_prob(batch.x, labels=batch.labels).mean()

    def train_step(self, batch, step):
        self.frequencies.count(batch, step)
        return super().train_step(batch, step)


class Estimated(Chain):
    """A chain that also estimates."""

    def log_prob_estimate(self, x, *, labels=None, text=None, generator=None):
        return self.log_prob(x, labels=labels, text=text) + 0.01 * torch.randn(len(x), generator=generator)


# --- wrong ------------------------------------------------------------------------------------------------------------


class PixelSeesItself(Chain):
    diagonal = 0


class PixelSeesLater(Chain):
    diagonal = 1


class PixelIsBlind(Chain):
    """The last conditional misses its neighbour; normalised, so only the order law can know."""

    diagonal = -2


class TemperatureOnlyInSample(Chain):
    def sample(self, n, **options):
        return super().sample(n, temperature=0.7, **options)


class GlobalNoise(Chain):
    def sample(self, n, *, labels=None, text=None, generator=None):
        return super().sample(n, labels=labels, text=text)


class NoCheck(Chain):
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
    def __init__(self, images, config):
        super().__init__(images, config)
        self.unused = nn.Parameter(torch.ones(3))


class SumLoss(Chain):
    """A sum over the batch instead of a mean: micro-batches weigh their images by their own size."""

    def loss(self, batch):
        return super().loss(batch) * len(batch)


class HiddenMomentum(Chain):
    """A running average that a checkpoint doesn't know."""

    def __init__(self, images, config):
        super().__init__(images, config)
        self.count = 0

    def train_step(self, batch, step):
        self.count += 1
        return {"loss": step.minimize(lambda part: self.loss(part) + self.bias.square().sum() * self.count, batch)}


class RandomLogProb(TwoStates):
    """An ELBO that goes by the name of log_prob."""

    def log_prob(self, x, *, labels=None, text=None):
        return self.elbo(x, labels=labels, text=text)


class ForgotLogN(TwoStates):
    def iwae(self, x, n, **options):
        return super().iwae(x, n, **options) + math.log(n)


class ForgotEntropy(TwoStates):
    """E_q[log p(x, z)] + 2 H(q): above the likelihood."""

    def log_weights(self, x):
        log_w, q = super().log_weights(x)
        return log_w - torch.stack([(1 - q).log(), q.log()], 1), q


class ElboAboveIwae(TwoStates):
    def elbo(self, x, **options):
        return super().elbo(x, **options) + 0.1


class ForgotDLnK(Affine):
    """A dequantisation bound without its constant."""

    log_density = None  # the bound is all it offers

    def elbo(self, x, *, labels=None, text=None, draws=1, generator=None):
        self.check(x, labels, text)
        return torch.stack([self.density(dequantise(x, self.images, generator)[0]) for _ in range(draws)]).mean(0)


class ForgotPi(Affine):
    def density(self, v):
        return super().density(v) + math.log(2 * math.pi) * self.images.dims / 2


class WrongSign(Affine):
    sign = -1.0


class Unweighted(Table):
    """Statistics of chunks, averaged as if the chunks were of one size."""

    def statistics(self, step):
        parts = step.gather(lambda part: {key: value[None] for key, value in self.expectation(part).items()})
        return {key: value.mean(0) for key, value in parts.items()}


class Overshoots(Table):
    stride = 1.9


class IgnoresLabels(Labelled):
    def sample(self, n, *, labels=None, text=None, generator=None):
        self.check_request(n, labels, text)
        return super().sample(n, generator=generator)


class DoubledEstimate(Estimated):
    def log_prob_estimate(self, x, **options):
        return super().log_prob_estimate(x, **options) + math.log(2)


RIGHT = (Chain, TwoStates, Affine, Table, Labelled, Estimated)
WRONG = [
    (PixelSeesItself, "normalised"),
    (PixelSeesLater, "ordered"),
    (PixelIsBlind, "ordered"),
    (TemperatureOnlyInSample, "sampled"),
    (GlobalNoise, "samples"),
    (NoCheck, "samples"),
    (Unsaved, "samples"),
    (DeadParameter, "builds"),
    (SumLoss, "accumulates"),
    (HiddenMomentum, "resumes"),
    (RandomLogProb, "normalised"),
    (ForgotLogN, "bounded"),
    (ForgotEntropy, "bounded"),
    (ElboAboveIwae, "bounded"),
    (ForgotDLnK, "bounded"),
    (ForgotPi, "integrates"),
    (WrongSign, "inverts"),
    (WrongSign, "integrates"),
    (WrongSign, "sampled-density"),
    (Unweighted, "accumulates"),
    (Overshoots, "never-falls"),
    (IgnoresLabels, "labels"),
    (DoubledEstimate, "estimated"),
]


def spec_of(model: type[GenerativeModel]) -> ModelSpec:
    return ModelSpec(
        name=model.__name__.lower(),
        family="toy",
        summary="A toy.",
        target=f"{__name__}:{model.__name__}",
        config=Config(),
        tiny=Config(),
        likelihood=likelihood_of(model),
        conditioning="class" if issubclass(model, Labelled) else "none",
        paper=Paper(title="Toys", authors="We", year=2026, url="https://example.org"),
    )


@pytest.fixture(autouse=True)
def toys_are_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """These live beside torch in a test file; that a plugin imports without torch is not theirs to show."""
    monkeypatch.setattr(zoo_core.testing.twelve_laws, "_imports_torch", lambda package: False)


@pytest.mark.parametrize("model", RIGHT)
@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["first-size", "all-sizes"])
def test_right_models_hold_every_law(model: type[GenerativeModel], slow: bool) -> None:
    assert not [result for result in check(spec_of(model), slow=slow) if result.status == "broken"]


@pytest.mark.parametrize(("model", "name"), WRONG, ids=[f"{model.__name__}-{name}" for model, name in WRONG])
def test_wrong_models_are_caught(model: type[GenerativeModel], name: str) -> None:
    law, cases = next((law, cases) for law, cases in laws(spec_of(model)) if law.name == name)
    with pytest.raises(BrokenLaw):
        law.function(cases[0])


def test_every_law_is_shown_to_bite() -> None:
    assert {law.name for law in LAWS} == {name for _, name in WRONG}


def test_a_wrong_likelihood_word_is_broken() -> None:
    results = {result.name: result for result in check(replace(spec_of(Chain), likelihood="bound"))}
    assert results["builds"].status == "broken" and "'exact'" in results["builds"].message


def test_check_reports_every_law_in_order() -> None:
    heard = []
    results = check(spec_of(Table), report=heard.append)
    assert heard == results and [result.name for result in results] == [law.name for law in LAWS]
    assert {result.name for result in results if result.status == "not applicable"} >= {
        "integrates",
        "bounded",
        "labels",
    }


class TakesNothing(Chain):
    def __init__(self, images, config):
        raise ZooError("too small")


def test_a_model_that_takes_no_law_image_is_an_error() -> None:
    with pytest.raises(ZooError, match="refuses every image"):
        check(spec_of(TakesNothing))
