"""Small right models, one for each kind of likelihood and of training: they hold every law. See `wrong_models.py`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from zoo_core.chunks import rand, randn
from zoo_core.config import Config
from zoo_core.images import dequantise, quantise, to_signed
from zoo_core.labels import ClassFrequencies
from zoo_core.model import GenerativeModel, likelihood_of
from zoo_core.pixels import Categorical
from zoo_core.specs import Kind, ModelSpec, Paper
from zoo_core.step import Trainable


class Chain(GenerativeModel):
    """p(x_d | x_<d): softmax, linear in the earlier subpixels."""

    def __init__(self, images, config):
        super().__init__(images, config)
        dims, levels = images.dims, images.levels
        self.bias = nn.Parameter(torch.zeros(dims, levels))
        self.weight = nn.Parameter(torch.zeros(dims, dims, levels))
        self.register_buffer("mask", self.sees(dims)[..., None])

    def sees(self, dims):
        """1 where subpixel d (row) sees j (column), `(D, D)`."""
        return torch.ones(dims, dims).tril(-1)

    def logits(self, x, condition):
        """Of all subpixels, `(N, D, K)`. condition: a shift of them, or 0."""
        v = to_signed(x, self.images).flatten(1)  # (N, D)
        return self.bias + torch.einsum("nj,djk->ndk", v, self.weight * self.mask) + condition

    def condition(self, n, labels=None, text=None, generator=None):
        """What labels or text add to the logits: nothing here."""
        return 0

    def log_conditionals(self, x, *, labels=None, text=None):
        logits = self.logits(x, self.condition(len(x), labels, text))
        return Categorical(logits).log_prob(x.flatten(1))

    def log_prob(self, x, *, labels=None, text=None):
        self.check(x, labels, text)
        return self.log_conditionals(x, labels=labels, text=text).sum(1)

    def sample(self, n, *, labels=None, text=None, generator=None, temperature=1.0):
        self.check_request(n, labels, text)
        condition = self.condition(n, labels, text, generator)
        x = torch.zeros(n, self.images.dims, dtype=torch.uint8)
        u = rand(n, self.images.dims, generator=generator)
        for d in range(self.images.dims):
            logits = self.logits(x.view(n, *self.images.shape), condition)[:, d] / temperature
            x[:, d] = Categorical(logits).icdf(u[:, d])
        return x.view(n, *self.images.shape)

    def loss(self, batch):
        return -self.log_conditionals(batch.x, labels=batch.labels, text=batch.text).sum(1).mean()

    def train_step(self, batch, step):
        return {"loss": step.minimize(self.loss, batch)}


class Labelled(Chain):
    """A chain for each class."""

    conditioning = "class"

    def __init__(self, images, config):
        super().__init__(images, config)
        self.classes = nn.Parameter(torch.zeros(images.classes, images.dims, images.levels))
        self.frequencies = ClassFrequencies(images.classes)

    def condition(self, n, labels=None, text=None, generator=None):
        return self.classes[self.frequencies.draw(n, generator) if labels is None else labels]

    def train_step(self, batch, step):
        self.frequencies.count(batch, step)
        return super().train_step(batch, step)


class Captioned(Chain):
    """A chain for each caption: the logits are linear in how often each character occurs. No text is the empty text."""

    conditioning = "text"

    def __init__(self, images, config):
        super().__init__(images, config)
        self.characters = nn.Parameter(torch.zeros(128, images.dims, images.levels))

    def condition(self, n, labels=None, text=None, generator=None):
        codes = [[ord(character) % 128 for character in caption] for caption in text or [""] * n]
        counts = torch.stack([torch.bincount(torch.tensor(c, dtype=torch.int64), minlength=128) for c in codes])
        return torch.einsum("nc,cdk->ndk", counts.to(self.bias), self.characters)


class Logistic(GenerativeModel):
    """Independent subpixels, each a logistic integrated over its level's bin; the edge bins reach to infinity."""

    def __init__(self, images, config):
        super().__init__(images, config)
        self.location = nn.Parameter(torch.full((images.dims, 1), 0.4))
        self.log_scale = nn.Parameter(torch.full((images.dims, 1), -1.0))

    def cdf(self, edges):
        """Of each subpixel at edges `(M,)` in [0, 1]. `(D, M)`."""
        return ((edges - self.location) * (-self.log_scale).exp()).sigmoid()

    def cumulative(self):
        """The distribution function at the K + 1 edges of the bins, `(D, K + 1)`: 0 and 1 at the outer two."""
        inner = self.cdf(torch.arange(1, self.images.levels) / self.images.levels)
        return torch.cat([torch.zeros_like(self.location), inner, torch.ones_like(self.location)], 1)

    def log_prob(self, x, *, labels=None, text=None):
        self.check(x, labels, text)
        table = self.cumulative().diff(dim=1).clamp_min(1e-30).log()  # (D, K)
        return table.expand(len(x), -1, -1).gather(2, x.flatten(1).long()[..., None]).sum((1, 2))

    def sample(self, n, *, labels=None, text=None, generator=None):
        self.check_request(n, labels, text)
        v = self.location[:, 0] + self.log_scale[:, 0].exp() * rand(n, len(self.location), generator=generator).logit()
        return quantise(v, self.images).view(n, *self.images.shape)

    def train_step(self, batch, step):
        return {"loss": step.minimize(lambda part: -self.log_prob(part.x).mean(), batch)}


class TwoStates(GenerativeModel):
    """A VAE whose latent is one of two states: q(z = 1 | x) is logistic, p(x | z) a table."""

    def __init__(self, images, config):
        super().__init__(images, config)
        self.prior = nn.Parameter(torch.zeros(()))
        self.encoder = nn.Linear(images.dims, 1)
        self.decoder = nn.Parameter(0.1 * torch.randn(2, images.dims, images.levels))

    def terms(self, x):
        """ln p(x | z), ln p(z) and ln q(z | x) for both z. `(N, 2)`, `(2,)`, `(N, 2)`."""
        q = self.encoder(to_signed(x, self.images).flatten(1))[:, 0]
        log_q = F.logsigmoid(torch.stack([-q, q], 1))
        log_prior = F.logsigmoid(torch.stack([-self.prior, self.prior]))
        tables = self.decoder.unsqueeze(1)
        return torch.stack([Categorical(t).log_prob(x.flatten(1)).sum(1) for t in tables], 1), log_prior, log_q

    def draws(self, x, n, generator):
        """ln p(x, z) - ln q(z | x) for n draws of z. `(N, n)`."""
        log_x, log_prior, log_q = self.terms(x)
        z = torch.rand(len(x), n, generator=generator) < log_q[:, 1:].exp()
        return (log_x + log_prior - log_q).gather(1, z.long())

    def iwae(self, x, n, *, labels=None, text=None, generator=None):
        self.check(x, labels, text)
        return self.draws(x, n, generator).logsumexp(1) - math.log(n)

    def elbo(self, x, *, labels=None, text=None, draws=1, generator=None):
        self.check(x, labels, text)
        return self.draws(x, draws, generator).mean(1)

    def sample(self, n, *, labels=None, text=None, generator=None):
        self.check_request(n, labels, text)
        z = rand(n, generator=generator) < self.prior.sigmoid()
        return Categorical(self.decoder[z.long()]).sample(generator).view(n, *self.images.shape)

    def loss(self, batch):
        log_x, log_prior, log_q = self.terms(batch.x)  # the expectation over two states is a sum: no noise
        return -(log_q.exp() * (log_x + log_prior - log_q)).sum(1).mean()

    def train_step(self, batch, step):
        return {"loss": step.minimize(self.loss, batch)}


class OnlyElbo(TwoStates):
    """The same with no other likelihood: E_q[ln p(x | z)], estimated, minus KL(q(z | x) || p(z)), in closed form."""

    iwae = None

    def elbo(self, x, *, labels=None, text=None, draws=1, generator=None):
        self.check(x, labels, text)
        log_x, log_prior, log_q = self.terms(x)
        z = torch.rand(len(x), draws, generator=generator) < log_q[:, 1:].exp()
        kl = (log_q.exp() * (log_q - log_prior)).sum(1)
        return log_x.gather(1, z.long()).mean(1) - kl


class Affine(GenerativeModel):
    """A flow: z = (v - shift) exp(scale), standard normal."""

    def __init__(self, images, config):
        super().__init__(images, config)
        self.shift = nn.Parameter(torch.full(images.shape, 0.5))
        self.scale = nn.Parameter(torch.zeros(images.shape))

    def flow(self, v):
        return (v - self.shift) * self.scale.exp(), self.scale.sum().expand(len(v))

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
        return quantise(self.inverse(randn(n, *self.images.shape, generator=generator)), self.images)

    def loss(self, batch):
        return -self.density((batch.x + batch.extra["u"]) / self.images.levels).mean()

    def train_step(self, batch, step):
        return {"loss": step.minimize(self.loss, batch.with_(u=step.rand(batch, *self.images.shape)))}


class Dequantised(Affine):
    """A flow that dequantises by itself, and so offers a bound on log P of the integers instead of a density."""

    log_density = None

    def elbo(self, x, *, labels=None, text=None, draws=1, generator=None):
        self.check(x, labels, text)
        return torch.stack([self.bound(*dequantise(x, self.images, generator)) for _ in range(draws)]).mean(0)

    def bound(self, v, log_volume):
        return self.density(v) + log_volume


class Table(GenerativeModel):
    """Independent subpixels by counting: EM without anything hidden. A share of 1e-4 is uniform: no level is at 0."""

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
        onehot = F.one_hot(batch.x.flatten(1).long(), self.images.levels).to(self.table.dtype)
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


class RunningTable(Table):
    """The same by a running mean of batches: no full pass, and a batch that is unlike the others lets it fall."""

    stride = 0.3

    def train_step(self, batch, step):
        statistics = step.mean(self.expectation, batch)
        self.table += self.stride * (statistics["count"] - self.table)
        self.table.clamp_(min=1e-4).div_(self.table.sum(1, keepdim=True))
        return {"loss": statistics["loss"]}


class ThenRunningTable(RunningTable):
    """A full pass to start with, then running means."""

    def train_step(self, batch, step):
        return Table.train_step(self, batch, step) if step.index == 0 else super().train_step(batch, step)


class Boltzmann(GenerativeModel):
    """An energy-based model, p(x) = exp(f(x)) / Z, f(x) = sum_d b_d(x_d) + sum_{i>j} v_i w_ij v_j, v in [-1, 1].

    Trained by persistent contrastive divergence, whose chains live in `step.state`. Z by R. Neal, "Annealed Importance
    Sampling", 2001, https://doi.org/10.1023/A:1008923215028, from the base exp(sum_d b_d(x_d)), whose Z is a sum.
    """

    def __init__(self, images, config):
        super().__init__(images, config)
        self.bias = nn.Parameter(torch.zeros(images.dims, images.levels))
        self.weight = nn.Parameter(torch.zeros(images.dims, images.dims))
        self.register_buffer("mask", torch.ones(images.dims, images.dims).tril(-1))

    def base(self, s):
        """sum_d b_d(s_d). s: uint8 `(N, D)`."""
        return self.bias.expand(len(s), -1, -1).gather(2, s.long()[..., None]).sum((1, 2))

    def pairs(self, s):
        """sum_{i>j} v_i w_ij v_j. s: uint8 `(N, D)`."""
        v = to_signed(s, self.images).to(self.bias)
        return torch.einsum("ni,ij,nj->n", v, self.weight * self.mask, v)

    @torch.no_grad()
    def gibbs(self, s, u, beta=1.0):
        """Each subpixel in turn from its conditional of exp(base + beta pairs), noise u `(N, D)`."""
        s, weight = s.clone(), beta * (self.weight * self.mask + (self.weight * self.mask).T)
        levels = to_signed(torch.arange(self.images.levels), self.images).to(self.bias)
        for d in range(self.images.dims):
            field = to_signed(s, self.images).to(self.bias) @ weight[d]  # (N,)
            s[:, d] = Categorical(self.bias[d] + field[:, None] * levels).icdf(u[:, d])
        return s

    def draw(self, n, generator):
        """From the base, exactly. uint8 `(n, D)`."""
        return Categorical(self.bias.expand(n, -1, -1)).sample(generator)

    def log_z(self, generator, chains=2000, steps=20):
        """ln Z_base + ln of the mean weight of chains that go from the base to the model."""
        s, log_w = self.draw(chains, generator), torch.zeros(chains)
        for t in range(1, steps + 1):
            log_w = log_w + self.pairs(s) / steps
            s = self.gibbs(s, torch.rand(s.shape, generator=generator), t / steps)
        return self.log_z_base() + log_w.logsumexp(0) - math.log(chains)

    def log_z_base(self):
        return self.bias.logsumexp(1).sum()

    def log_prob_estimate(self, x, *, labels=None, text=None, generator=None):
        s = self.check(x, labels, text).flatten(1)
        return self.base(s) + self.pairs(s) - self.log_z(generator)

    def sample(self, n, *, labels=None, text=None, generator=None):
        self.check_request(n, labels, text)
        s = self.draw(n, generator)
        for _ in range(20):
            s = self.gibbs(s, rand(*s.shape, generator=generator))
        return s.view(n, *self.images.shape)

    def chains(self, step, batch):
        """Where the chains of the last step stopped, `(N, D)`."""
        return step.state.get("replay", torch.zeros_like(batch.x.flatten(1)))

    def keep(self, step, s):
        step.state["replay"] = s

    def train_step(self, batch, step):
        negative = self.gibbs(self.chains(step, batch), step.rand(batch, self.images.dims))
        self.keep(step, negative)
        return {"loss": step.minimize(self.loss, batch.with_(negative=negative))}

    def loss(self, batch):
        positive, negative = batch.x.flatten(1), batch.extra["negative"]
        return (self.base(negative) + self.pairs(negative) - self.base(positive) - self.pairs(positive)).mean()


class PrincipalAxes(Trainable):
    """An encoder: the two directions that images are best rebuilt from, by descent of the squared error."""

    def __init__(self, images, config):
        super().__init__(images, config)
        self.axes = nn.Parameter(0.1 * torch.randn(images.dims, 2))

    def encode(self, x):
        return to_signed(x, self.images).flatten(1) @ self.axes

    def loss(self, batch):
        v = to_signed(batch.x, self.images).flatten(1)
        return (self.encode(batch.x) @ self.axes.T - v).square().sum(1).mean()

    def train_step(self, batch, step):
        return {"loss": step.minimize(self.loss, batch)}


class Softmax(Trainable):
    """A classifier: softmax, linear in the pixels."""

    conditioning = "class"

    def __init__(self, images, config):
        super().__init__(images, config)
        self.linear = nn.Linear(images.dims, images.classes)

    def logits(self, x):
        return self.linear(to_signed(x, self.images).flatten(1))

    def predict(self, x):
        return self.logits(x).argmax(1)

    def loss(self, batch):
        return F.cross_entropy(self.logits(batch.x), batch.labels)

    def train_step(self, batch, step):
        return {"loss": step.minimize(self.loss, batch)}


RIGHT = (Chain, Labelled, Captioned, Logistic, TwoStates, OnlyElbo, Affine, Dequantised, Table, Boltzmann)
RIGHT += (RunningTable, ThenRunningTable, PrincipalAxes, Softmax)


def kind_of(model: type[Trainable]) -> Kind:
    if issubclass(model, GenerativeModel):
        return "generative"
    return "classifier" if issubclass(model, Softmax) else "encoder"


def spec_of(model: type[Trainable]) -> ModelSpec:
    return ModelSpec(
        name=model.__name__.lower(),
        family="toy",
        summary="A toy.",
        target=f"{model.__module__}:{model.__name__}",
        config=Config(),
        tiny=Config(),
        kind=kind_of(model),
        likelihood=likelihood_of(model),
        conditioning=model.conditioning,
        paper=Paper(title="Toys", authors="We", year=2026, url="https://example.org"),
    )
