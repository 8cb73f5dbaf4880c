"""LocalStep, the executable definition of a step: micro-batches are the big batch, players apart, noise pinned."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.optim import SGD

from zoo_core.config import Config
from zoo_core.errors import Diverged, UnknownName, ZooError
from zoo_core.images import Batch
from zoo_core.model import GenerativeModel
from zoo_core.specs import ImageSpec
from zoo_core.step import LocalStep, WeightedMean, only, seed_from, select, tree_map

IMAGES = ImageSpec(channels=1, height=2, width=2, levels=17)


class Players(GenerativeModel):
    """Two players whose losses each reach both networks."""

    def __init__(self) -> None:
        super().__init__(IMAGES, Config())
        self.one, self.two = nn.Linear(4, 3), nn.Linear(3, 1)

    def forward(self, batch):
        noise = batch.extra.get("eps", torch.zeros(len(batch), 4))
        return self.two(torch.tanh(self.one(batch.x.flatten(1) / 16 + noise)))[:, 0]

    def loss(self, batch):
        out = self(batch)
        return {"loss": out.square().mean(), "out": out.mean(), "rows": out.detach().abs().mean()}

    def train_step(self, batch, step):
        batch = batch.with_(eps=step.randn(batch, 4))
        first = step.minimize(self.loss, batch, "one")
        second = step.minimize(lambda part: -self(part).mean(), batch, "two")
        return {"loss/one": first["loss"], "loss/two": second}

    def optimizers(self, lr):
        return {"one": SGD(self.one.parameters(), lr), "two": SGD(self.two.parameters(), lr)}

    def sample(self, n, *, labels=None, text=None, generator=None):
        return torch.zeros(n, *IMAGES.shape, dtype=torch.uint8)


@pytest.fixture
def model():
    """In float64, where equal arithmetic stays equal."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield Players()
    torch.set_default_dtype(torch.float32)


def images(n: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.randint(17, (n, *IMAGES.shape), generator=generator, dtype=torch.uint8))


@pytest.mark.parametrize("micro_batch", [1, 3, 7, 20, 100])
def test_accumulation_is_the_big_batch(model, micro_batch):
    other = copy.deepcopy(model)
    whole, parts = LocalStep(model, lr=0.1), LocalStep(other, lr=0.1, micro_batch=micro_batch)
    for index in range(5):
        expected, got = whole.run(images(20, index)), parts.run(images(20, index))
        for name, value in expected.items():
            assert float(got[name]) == pytest.approx(float(value), abs=1e-12)
    for (name, a), b in zip(model.state_dict().items(), other.state_dict().values()):
        assert torch.allclose(a, b, rtol=0, atol=1e-12), name


def test_unweighted_averaging_would_have_been_seen(model):
    """20 images in parts of 7, 7 and 6: the plain mean of the parts' gradients is another gradient."""
    batch = images(20)

    def gradient(loss):
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])

    whole = gradient(model.loss(batch)["loss"])
    plain = torch.stack([gradient(model.loss(part)["loss"]) for part in batch.split(7)]).mean(0)
    assert (whole - plain).abs().max() > 1e-6


def test_minimize_returns_what_the_loss_returned_detached(model):
    step = LocalStep(model, lr=0.0)
    out = step.minimize(model.loss, images(6), "one")
    assert set(out) == {"loss", "out", "rows"} and not any(value.requires_grad for value in out.values())
    bare = step.minimize(lambda part: model(part).mean(), images(6), "one")
    assert bare.dim() == 0 and not bare.requires_grad


def test_only_the_named_group_moves(model):
    before = copy.deepcopy(model.state_dict())
    LocalStep(model, lr=0.1).minimize(model.loss, images(6), "one")
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"one.weight", "one.bias"}
    assert all(p.grad is None for p in model.two.parameters()) and all(p.requires_grad for p in model.parameters())


def test_only_thaws_after_an_error_and_leaves_the_frozen_frozen(model):
    model.two.bias.requires_grad_(False)
    optimizers = model.optimizers(0.1)
    with pytest.raises(RuntimeError), only(optimizers, "one"):
        assert not model.two.weight.requires_grad and model.one.weight.requires_grad
        raise RuntimeError
    assert model.two.weight.requires_grad and not model.two.bias.requires_grad


def test_only_does_not_freeze_what_the_group_shares(model):
    shared = {"a": SGD([model.one.weight, model.two.weight], 0.1), "b": SGD([model.two.weight, model.two.bias], 0.1)}
    with only(shared, "a"):
        assert model.two.weight.requires_grad and not model.two.bias.requires_grad


def test_an_unknown_group_is_named(model):
    with pytest.raises(ZooError, match="no optimiser group 'ones'; did you mean 'one'"):
        select(model.optimizers(0.1), "ones")
    with pytest.raises(ZooError, match="no optimiser group 'model'"):
        LocalStep(model).minimize(model.loss, images(2))


def test_a_loss_that_is_not_finite_stops_before_the_weights_move(model):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(Diverged, match="'one' is nan at step 0"):
        LocalStep(model).minimize(lambda part: model(part).mean() * math.nan, images(4), "one")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not issubclass(Diverged, UnknownName)


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_a_gradient_that_is_not_finite_stops_before_the_weights_move(model, bad):
    """A root at 0 is 0, and its slope is infinite; times 0 it is NaN."""
    step = LocalStep(model, lr=0.1)

    def loss(part):
        weight = model.two.weight
        root = (weight.sum() * 0).sqrt() if bad == "nan" else (weight - weight.detach()).sum().sqrt()
        return model(part).square().mean() + (root if step.index == 7 else 0)

    for index in range(7):
        step.minimize(loss, images(4, index), "two")
        step.index += 1
    before = copy.deepcopy(model.state_dict())
    assert bool(torch.isfinite(loss(images(4))))
    with pytest.raises(Diverged, match=f"the gradient of group 'two' is {bad} at step 7; lower the learning rate"):
        step.minimize(loss, images(4), "two")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_noise_depends_on_seed_index_and_draw_only(model):
    batch = images(10)

    def draws(step):
        return [step.randn(batch, 3), step.rand(batch), step.randint(5, batch, 2)]

    one, two = draws(LocalStep(model, seed=1)), draws(LocalStep(model, seed=1, micro_batch=3))
    assert all(torch.equal(a, b) for a, b in zip(one, two))
    assert [tuple(noise.shape) for noise in one] == [(10, 3), (10,), (10, 2)]
    assert not torch.equal(one[0], LocalStep(model, seed=2).randn(batch, 3))
    step = LocalStep(model, seed=1)
    assert not torch.equal(step.randn(batch, 3), step.randn(batch, 3))
    step.index, step._draws = 1, 0
    assert not torch.equal(step.randn(batch, 3), one[0])
    assert one[0].dtype == torch.float64 and float(one[1].min()) >= 0 and float(one[1].max()) < 1


def test_noise_leaves_the_global_generator_alone(model):
    state = torch.get_rng_state()
    LocalStep(model).run(images(4))
    assert torch.equal(state, torch.get_rng_state())


def test_mean_and_gather_go_through_trees_and_over_uneven_parts(model):
    data = images(23)

    def statistic(part):
        v = part.x.flatten(1).to(torch.float64)
        return {"first": v.mean(0), "both": (v.mean(), [v.square().mean(0)])}

    for step in (LocalStep(model, data=data, full_pass=5), LocalStep(model, data=data)):
        got, expected = step.mean(statistic), statistic(data)
        assert torch.allclose(got["first"], expected["first"])
        assert torch.allclose(got["both"][0], expected["both"][0])
        assert torch.allclose(got["both"][1][0], expected["both"][1][0])
        assert isinstance(got["both"], tuple) and isinstance(got["both"][1], list)
        rows = step.gather(lambda part: {"x": part.x, "pair": (part.x[:, 0, 0, 0],)})
        assert torch.equal(rows["x"], data.x) and torch.equal(rows["pair"][0], data.x[:, 0, 0, 0])
    part = LocalStep(model, micro_batch=4, data=data)
    assert torch.allclose(part.mean(statistic, data[:9])["first"], statistic(data[:9])["first"])
    assert torch.equal(part.gather(lambda p: p.x, data[:9]), data.x[:9])


def test_statistics_carry_no_gradients(model):
    step = LocalStep(model, data=images(5))
    assert not step.mean(lambda part: model(part).mean()).requires_grad
    assert not step.gather(model).requires_grad


def test_full_passes_need_the_training_set(model):
    with pytest.raises(ZooError, match=r"give LocalStep the training set, data=Batch\(x\)"):
        LocalStep(model).mean(lambda part: part.x)
    with pytest.raises(ZooError, match="a mean over no images"):
        LocalStep(model, data=images(3)[:0]).mean(lambda part: part.x.float().mean())


def test_weighted_mean_weighs_by_images():
    total = WeightedMean()
    total.add(torch.tensor(1.0), 3)
    total.add(torch.tensor(5.0), 1)
    assert float(total.value()) == 2


def test_tree_map_keeps_the_structure():
    tree = {"a": (torch.tensor(1.0), [torch.tensor(2.0)]), "b": torch.tensor(3.0)}
    assert tree_map(lambda x, y: float(x + y), tree, tree) == {"a": (2.0, [4.0]), "b": 6.0}


def test_progress_is_the_share_of_steps_done(model):
    step, seen = LocalStep(model, steps=4), []
    for _ in range(4):
        seen.append(step.progress)
        step.run(images(2))
    assert seen == [0, 0.25, 0.5, 0.75] and LocalStep(model).progress == 0


def test_training_mode_lasts_for_the_step(model):
    modes = []
    model.train_step = lambda batch, step: modes.append(model.training) or {}
    LocalStep(model).run(images(2))
    assert modes == [True] and not model.training


def test_resuming_is_not_stopping(model):
    straight, other = LocalStep(model, lr=0.1, seed=5), copy.deepcopy(model)
    resumed = LocalStep(other, lr=0.1, seed=5)
    for index in range(3):
        straight.run(images(8, index))
        resumed.run(images(8, index))
    saved, weights = resumed.state_dict(), copy.deepcopy(other.state_dict())
    fresh = Players()
    fresh.load_state_dict(weights)
    again = LocalStep(fresh, lr=0.1, seed=5)
    again.load_state_dict(saved)
    for index in range(3, 6):
        straight.run(images(8, index))
        again.run(images(8, index))
    assert again.index == 6
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), fresh.state_dict().values()))


class Conditional(Players):
    """Players for images of three classes; what they do with labels does not matter here."""

    conditioning = "class"

    def __init__(self):
        super().__init__()
        self.images = dataclasses.replace(IMAGES, classes=3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1, 99]), "expected classes 0..2, got 99"),
        (torch.tensor([0, -1, 2]), "expected classes 0..2, got -1"),
        (torch.tensor([0.0, 1.0, 2.0]), "expected int64"),
        (None, "expected int64"),
    ],
    ids=str,
)
def test_a_conditional_model_is_trained_on_labels_that_it_knows(labels, message):
    model, bad = Conditional(), Batch(images(3).x, labels)
    with pytest.raises(ZooError, match=message):
        LocalStep(model).run(bad)
    with pytest.raises(ZooError, match=message):
        LocalStep(model, data=bad)
    good = Batch(images(3).x, torch.tensor([0, 1, 2]))
    assert LocalStep(model, data=good).run(good)


@pytest.mark.parametrize("size", [0, -1])
def test_a_micro_batch_holds_an_image(model, size):
    with pytest.raises(ZooError, match=f"micro_batch: expected at least 1 image.* got {size}"):
        LocalStep(model, micro_batch=size)


@pytest.mark.parametrize("n", [2.5, True, "3", 0, -1])
def test_only_a_whole_number_of_images_can_be_asked_for(model, n):
    with pytest.raises(ZooError, match="expected n of at least 1, a whole number, got"):
        model.check_request(n)


def test_a_likelihood_of_no_images_is_refused(model):
    with pytest.raises(ZooError, match="at least one image, got none"):
        model.check(images(3).x[:0])


def test_seeds_of_neighbours_are_unrelated():
    seeds = [seed_from(0, index, draw, 0) for index in range(50) for draw in range(4)]
    assert len(set(seeds)) == 200 and all(0 <= seed < 2**63 for seed in seeds)
    assert seed_from(1, 23) != seed_from(12, 3)
