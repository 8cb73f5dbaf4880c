"""The base of the family: `logits` alone makes a model that learns, is scored exactly, is sampled and completes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo_autoregressive.autoregressive import Autoregressive

from zoo_core import Batch, Config, ImageSpec, LocalStep

IMAGES = ImageSpec(channels=3, height=1, width=2, levels=3)


@dataclass(frozen=True, kw_only=True)
class NoConfig(Config):
    """Nothing to choose."""


class Chain(Autoregressive):
    """A Markov chain: each subpixel's logits are a row of one table, that of the level before it."""

    def __init__(self, images: ImageSpec, config: Config) -> None:
        super().__init__(images, config, weight_decay=0.5)
        self.first = nn.Parameter(torch.zeros(images.levels))
        self.table = nn.Parameter(torch.zeros(images.levels, images.levels))

    def logits(self, s: Tensor, labels: Tensor | None = None) -> Tensor:
        first = self.first.expand(len(s), 1, -1)
        return torch.cat([first, F.embedding(s[:, :-1].int(), self.table)], 1)


def chain() -> Chain:
    torch.manual_seed(0)
    model = Chain(IMAGES, NoConfig()).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model.eval()


@torch.no_grad()
def test_all_images_have_probability_1_together_and_samples_follow_it() -> None:
    """chi-square of 30,000 samples over 729 images as a standard normal deviate, |z| < 5."""
    model, n = chain(), 30_000
    every = torch.cartesian_prod(*[torch.arange(3)] * 6).to(torch.uint8).view(-1, *IMAGES.shape)
    p = model.log_prob(every).exp()
    assert torch.allclose(p.sum(), torch.ones((), dtype=torch.float64))
    x = model.sample(n, generator=torch.Generator().manual_seed(0))
    place = 3 ** torch.arange(5, -1, -1)
    counts = torch.bincount((x.flatten(1).long() * place).sum(1), minlength=729)
    common = n * p >= 5
    expected = torch.cat([n * p[common], n * p[~common].sum(0, keepdim=True)])
    found = torch.cat([counts[common], counts[~common].sum(0, keepdim=True)])
    freedom = len(expected) - 1
    assert freedom > 100
    assert abs(float(((found - expected) ** 2 / expected).sum()) - freedom) / (2 * freedom) ** 0.5 < 5


@torch.no_grad()
def test_the_chain_runs_through_the_colours_of_a_pixel() -> None:
    model = chain()
    x = torch.tensor([[0, 1], [2, 0], [1, 2]], dtype=torch.uint8).view(1, 3, 1, 2)  # R, G, B of two pixels
    log_p = model.table.log_softmax(1)
    steps = [model.first.log_softmax(0)[0], *(log_p[a, b] for a, b in [(0, 2), (2, 1), (1, 1), (1, 0), (0, 2)])]
    assert torch.allclose(model.log_conditionals(x)[0], torch.stack(steps))


def test_completion_keeps_what_is_known() -> None:
    model = chain()
    x = model.sample(100, generator=torch.Generator().manual_seed(1))
    mask = torch.rand(x.shape) < 0.5
    y = model.complete(x, mask, generator=torch.Generator().manual_seed(2))
    assert torch.equal(y[mask], x[mask]) and not torch.equal(y, x)


def test_a_step_lowers_the_loss_and_weights_alone_decay() -> None:
    model = chain()
    batch = Batch(chain().sample(50, generator=torch.Generator().manual_seed(3)).fill_(1))
    decay = {id(p): g["weight_decay"] for g in model.optimizers(1e-2)["model"].param_groups for p in g["params"]}
    assert (decay[id(model.table)], decay[id(model.first)]) == (0.5, 0.0)
    before = model.loss(batch).item()
    step = LocalStep(model, lr=1e-2)
    assert step.run(batch)["loss"].item() == before
    assert model.loss(batch).item() < before
