"""The restricted Boltzmann machine: everything that can be enumerated is."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from zoo_energy.rbm import annealing
from zoo_energy.rbm.config import RBMConfig
from zoo_energy.rbm.machine import Base, Machine
from zoo_energy.rbm.model import FEW, MANY, RBM

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.errors import Diverged
from zoo_core.testing import structured_images
from zoo_core.testing.cases import chi_square

BINARY = ImageSpec(channels=1, height=2, width=3, levels=2)  # 64 images
SOFTMAX = ImageSpec(channels=2, height=1, width=2, levels=3)  # 81 images
BOTH = pytest.mark.parametrize("images", [BINARY, SOFTMAX], ids=["binary", "softmax"])


def make(images: ImageSpec, scale: float = 1.0, dtype: torch.dtype = torch.float64, **config: Any) -> RBM:
    """A machine of 4 hidden units whose weights matter."""
    generator = torch.Generator().manual_seed(0)
    model = RBM(images, RBMConfig(**{"hidden": 4, "distributions": 500, "chains": 1000, "steps": 30, **config}))
    for parameter in model.parameters():
        parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    model.pixel_frequencies = torch.rand(images.dims, images.levels, generator=generator).add(0.5)
    model.pixel_frequencies /= model.pixel_frequencies.sum(1, keepdim=True)
    model.hidden_frequencies = 0.1 + 0.8 * torch.rand(model.config.hidden, generator=generator)
    model.initialised.fill_(True)
    return model.to(dtype).eval()


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def every(images: ImageSpec) -> Tensor:
    levels = torch.arange(images.levels, dtype=torch.uint8)
    return torch.cartesian_prod(*[levels] * images.dims).view(-1, *images.shape)


def number(x: Tensor, images: ImageSpec) -> Tensor:
    """The row of each image in `every`."""
    return (x.flatten(1).long() * images.levels ** torch.arange(images.dims - 1, -1, -1)).sum(1)


def joint(model: RBM) -> tuple[Tensor, Tensor, Tensor]:
    """-E(v, h) of every v and h by the energy's own sums, `(V, H)`; the visible and hidden units."""
    machine = model.machine
    vs = []
    for x in every(model.images).flatten(1).tolist():
        if model.images.levels == 2:
            vs.append([float(pixel) for pixel in x])
        else:
            vs.append([float(pixel == level) for pixel in x for level in range(model.images.levels)])
    hs = list(itertools.product([0.0, 1.0], repeat=model.config.hidden))
    weight, b, c = (p.tolist() for p in (machine.weight, machine.visible_bias, machine.hidden_bias))
    table = [
        [
            sum(bi * vi for bi, vi in zip(b, v))
            + sum(hj * (cj + sum(w * vi for w, vi in zip(row, v))) for hj, cj, row in zip(h, c, weight))
            for h in hs
        ]
        for v in vs
    ]
    return torch.tensor(table, dtype=torch.float64), torch.tensor(vs).double(), torch.tensor(hs).double()


def exact(model: RBM) -> tuple[Tensor, float]:
    """P of every image, and log Z, by enumeration."""
    minus = -model.double().energy(every(model.images))
    return minus.softmax(0), float(minus.logsumexp(0))


@BOTH
def test_the_free_energy_sums_over_all_hidden_units(images: ImageSpec) -> None:
    model = make(images)
    table, _, _ = joint(model)
    torch.testing.assert_close(model.energy(every(images)), -table.logsumexp(1), atol=1e-9, rtol=0)


@BOTH
def test_each_layer_given_the_other_is_that_of_the_joint_distribution(images: ImageSpec) -> None:
    model = make(images)
    table, vs, hs = joint(model)
    p = table.flatten().softmax(0).view_as(table)
    torch.testing.assert_close(model.encode(every(images)), (p @ hs) / p.sum(1, keepdim=True), atol=1e-9, rtol=0)
    logits = model.machine.outputs(hs).detach()
    each = logits.sigmoid() if images.levels == 2 else logits.unflatten(1, (-1, images.levels)).softmax(2).flatten(1)
    torch.testing.assert_close(each, (p.T @ vs) / p.sum(0).unsqueeze(1), atol=1e-9, rtol=0)


@BOTH
def test_the_losss_gradient_is_data_less_chains(images: ImageSpec) -> None:
    """<v h>_data - <v h>_chains, unit by unit, and the same for the biases."""
    model = make(images)
    x, negative = every(images)[::7], every(images).flip(0)[::7]
    model.loss(Batch(x).with_(negative=negative))["loss"].backward()

    def statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        v, h = model.machine.units(x), model.encode(x)
        return sum(torch.outer(hn, vn) for hn, vn in zip(h, v)) / len(x), v.mean(0), h.mean(0)

    parameters = (model.machine.weight, model.machine.visible_bias, model.machine.hidden_bias)
    for parameter, data, chains in zip(parameters, statistics(x), statistics(negative)):
        torch.testing.assert_close(parameter.grad, chains - data, atol=1e-9, rtol=0)


def test_many_gibbs_steps_follow_the_likelihoods_gradient_and_one_does_not() -> None:
    x = every(BINARY)[torch.arange(9).repeat(1000)]
    gradients = {}
    for k in (1, 50):
        model = make(BINARY, algorithm="cd", k=k)
        step = LocalStep(model, lr=0.0)
        model.train_step(Batch(x), step)
        gradients[k] = model.machine.weight.grad
    minus = -model.machine(model.machine.units(every(BINARY)))[0]
    loss = minus.logsumexp(0) - minus[:9].mean()  # -log P(x)
    (true,) = torch.autograd.grad(loss, model.machine.weight)
    assert float((gradients[50] - true).abs().max()) < 0.02  # 9,000 chains: a standard error is 0.005 at most
    assert float((gradients[1] - true).abs().max()) > 0.05


@BOTH
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_a_gibbs_step_leaves_each_machine_on_the_way_alone(images: ImageSpec, beta: float) -> None:
    """p_beta by the formula of its free energy, written out; 100,000 draws from it, a step, and the same counts."""
    model, n = make(images), 100_000
    machine, v = model.machine, model.machine.units(every(images))
    mixed = (1 - beta) * model.base.visible + beta * machine.visible_bias
    inputs = (1 - beta) * model.base.hidden + beta * machine.inputs(v)
    minus = v @ mixed + torch.log1p(inputs.exp()).sum(1)
    p = minus.softmax(0).detach()
    start = v[torch.multinomial(p, n, replacement=True, generator=rng(0))]
    u = torch.rand(n, machine.noise, generator=rng(1), dtype=torch.float64)
    end = machine.pixels(machine.gibbs(machine.inputs(start), u, beta, model.base))
    counts = torch.bincount(number(end, images), minlength=len(p)).double()
    assert chi_square(counts, n * p, torch.zeros_like(p)) < 4


@BOTH
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_annealing_finds_the_log_z_of_enumeration(images: ImageSpec, scale: float) -> None:
    model = make(images, scale)
    found = model.log_partition()
    assert 0 < found.standard_error < 0.05
    assert abs(found.log_z - exact(model)[1]) < 4 * found.standard_error
    assert 100 < found.effective_sample_size <= 1000


def test_importance_weights_are_unbiased_however_few_distributions_there_are() -> None:
    model = make(BINARY, 1.5)
    runs = [model.log_partition(distributions=3, chains=2000, generator=rng(seed)) for seed in range(20)]
    ratios = torch.tensor([run.log_z for run in runs]).sub(exact(model)[1]).exp()
    error = float(ratios.std()) / math.sqrt(len(ratios))
    assert abs(float(ratios.mean()) - 1) < 4 * error
    typical = sum(run.standard_error for run in runs) / len(runs)
    assert 0.5 < float(ratios.std()) / typical < 2  # what each run says of itself
    assert runs[0].effective_sample_size < model.log_partition().effective_sample_size / 2 * 2000 / 1000


def test_weights_that_are_equal_have_no_error_and_one_chain_may_decide() -> None:
    even = annealing.summary(torch.full((10,), 3.0), torch.tensor(2.0), 5)
    assert even.log_z == pytest.approx(5) and even.standard_error == 0 and even.effective_sample_size == 10
    one = annealing.summary(torch.tensor([0.0, 0.0, 0.0, 50.0]).double(), torch.tensor(0.0), 5)
    assert one.log_z == pytest.approx(50 - math.log(4)) and one.effective_sample_size == pytest.approx(1)
    assert one.standard_error == pytest.approx(1)  # w = (0, 0, 0, 4): a deviation of 2 over the root of 4


@BOTH
@torch.no_grad()
def test_independent_pixels_have_their_log_z_in_closed_form(images: ImageSpec) -> None:
    model = make(images)
    model.machine.weight.data.zero_()
    base = Base(model.machine.visible_bias.detach(), model.machine.hidden_bias.clone())
    model.machine.hidden_bias += 1  # a step that is equal for all chains
    found = annealing.log_partition(model.machine, base, lambda k: torch.rand(2, k, generator=rng(0)).double(), 1)
    assert found.log_z == pytest.approx(exact(model)[1], abs=1e-9)
    assert found.standard_error < 1e-9


def test_the_path_is_that_of_the_paper() -> None:
    betas = annealing.path(14_500)
    assert len(betas) == 14_500 and betas[-1] == 1 and sorted(betas) == betas
    assert [sum(beta <= top + 1e-9 for beta in betas) for top in (0.5, 0.9, 1.0)] == [500, 4500, 14_500]


@BOTH
@pytest.mark.parametrize("anneal", [0.0, 0.8])
def test_samples_follow_the_distribution(images: ImageSpec, anneal: float) -> None:
    model, n = make(images), 10_000
    p = exact(model)[0]
    counts = torch.bincount(number(model.sample(n, generator=rng(0), anneal=anneal), images), minlength=len(p))
    assert chi_square(counts.double(), n * p, torch.zeros_like(p)) < 4


@BOTH
def test_completions_follow_the_distribution_given_the_known_pixels(images: ImageSpec) -> None:
    model, n = make(images), 10_000
    x = every(images)[37].expand(n, -1, -1, -1)
    mask = torch.zeros(images.shape, dtype=torch.bool)
    mask.view(-1)[1::2] = True
    filled = model.complete(x, mask.expand_as(x), generator=rng(0))
    assert torch.equal(filled[:, mask], x[:, mask])
    agree = (every(images)[:, mask] == x[0][mask]).all(1)
    p = torch.where(agree, exact(model)[0], 0)
    counts = torch.bincount(number(filled, images), minlength=len(p))
    assert chi_square(counts.double(), n * p / p.sum(), torch.zeros_like(p)) < 4


def test_the_first_n_samples_are_those_of_fewer() -> None:
    model = make(SOFTMAX, steps=20)
    assert torch.equal(model.sample(7, generator=rng(0)), model.sample(90, generator=rng(0))[:7])


def test_training_begins_at_the_frequencies_of_a_batch_and_annealing_at_those_of_the_set() -> None:
    for images in (BINARY, SOFTMAX):
        x, _ = structured_images(images, 500)
        model = RBM(images, RBMConfig(hidden=3, distributions=2, chains=2)).double()
        step = LocalStep(model, lr=0.0, data=Batch(x), full_pass=170)
        model.machine.weight.data.zero_()
        step.run(Batch(x[:50]))
        share = exact(model)[0] @ model.machine.units(every(images))
        few = (model.machine.units(x[:50]).mean(0) + FEW) / (1 + images.levels * FEW)
        torch.testing.assert_close(share, few, atol=1e-9, rtol=0)
        step.finish()
        p = model.machine.distribution(model.base.visible.unsqueeze(0)).log_prob(every(images).flatten(1)).sum(1).exp()
        many = (model.machine.units(x).mean(0) + MANY) / (1 + images.levels * MANY)
        torch.testing.assert_close(p @ model.machine.units(every(images)), many, atol=1e-9, rtol=0)
        torch.testing.assert_close(model.hidden_frequencies, model.encode(x).mean(0))


def test_chains_persist_and_a_smaller_batch_leaves_the_others_where_they_are() -> None:
    x, _ = structured_images(BINARY, 40)
    model = RBM(BINARY, RBMConfig(hidden=3))
    step = LocalStep(model, lr=0.0, data=Batch(x))
    step.run(Batch(x[:10]))
    before = step.state["chains"]
    assert before.shape == (10, *BINARY.shape) and before.dtype == torch.uint8
    step.run(Batch(x[:4]))
    after = step.state["chains"]
    assert torch.equal(after[4:], before[4:])
    step.run(Batch(x))
    assert step.state["chains"].shape == (40, *BINARY.shape)
    assert not step.state["chains"].is_set_to(after)


@pytest.mark.parametrize("algorithm", ["cd", "pcd"])
def test_where_the_chains_of_a_step_begin(algorithm: str) -> None:
    """With weights that make hidden units copy the image, a Gibbs step stays where it is."""
    model = RBM(BINARY, RBMConfig(hidden=6, algorithm=algorithm, k=3))
    model.machine.weight.data = 200 * torch.eye(6)
    model.machine.hidden_bias.data.fill_(-100)
    model.machine.visible_bias.data.fill_(-100)
    model._started = True
    x, chains = every(BINARY)[:20], every(BINARY)[30:50]
    step = LocalStep(model, lr=0.0)
    step.state["chains"] = chains
    assert torch.equal(model.negative(Batch(x), step), x if algorithm == "cd" else chains)
    assert torch.equal(step.state["chains"], chains)


def test_a_likelihood_needs_finish_and_training_on_makes_it_stale() -> None:
    x, _ = structured_images(BINARY, 60)
    model = RBM(BINARY, RBMConfig(hidden=3, distributions=20, chains=10))
    step = LocalStep(model, data=Batch(x))
    with pytest.raises(ZooError, match=r"log_prob_estimate: log Z has not been estimated.*step\.finish"):
        model.log_prob_estimate(x)
    step.run(Batch(x))
    step.finish()
    found = model.log_partition()
    torch.testing.assert_close(model.log_prob_estimate(x), -model.energy(x) - found.log_z)
    assert model.estimate_protocol() == {
        "estimator": "AIS",
        "distributions": 20,
        "chains": 10,
        "log_z": pytest.approx(found.log_z),
        "log_z_standard_error": pytest.approx(found.standard_error),
        "effective_sample_size": pytest.approx(found.effective_sample_size),
    }
    fresh = RBM(BINARY, model.config)
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(fresh.log_prob_estimate(x), model.log_prob_estimate(x))
    step.run(Batch(x))
    with pytest.raises(ZooError, match="estimate_protocol: log Z has not been estimated"):
        model.estimate_protocol()


def test_it_learns_a_distribution_of_known_entropy() -> None:
    """Two rows, each pixel of the second the first's with probability 0.9: 3 (ln 2 + H(0.1)) nats."""
    share = [math.prod(0.9 if a == b else 0.1 for a, b in zip(x[:3], x[3:])) / 8 for x in every(BINARY).flatten(1)]
    p, entropy = torch.tensor(share, dtype=torch.float64), 3 * (math.log(2) - 0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    x = every(BINARY)[torch.multinomial(p, 20_000, replacement=True, generator=rng(0))]
    torch.manual_seed(0)
    model = RBM(BINARY, RBMConfig(hidden=6, distributions=300, chains=1000))
    step = LocalStep(model, lr=1.0, data=Batch(x))
    for i in range(500):
        for group in step.optimizers["model"].param_groups:
            group["lr"] = 1 - i / 500
        step.run(Batch(x.roll(-200 * i, 0)[:200]))
    step.finish()
    estimate = -float(p @ model.log_prob_estimate(every(BINARY)).double())
    true = -float(p @ exact(copy.deepcopy(model))[0].log())
    assert entropy < true < entropy + 0.03
    assert estimate == pytest.approx(true, abs=4 * float(model.log_z_standard_error))


def test_an_energy_that_runs_away_is_stopped_and_reported() -> None:
    x, _ = structured_images(SOFTMAX, 100)
    model = RBM(SOFTMAX, RBMConfig(hidden=4, momentum=0.9))
    step = LocalStep(model, lr=1e3, data=Batch(x))
    with pytest.raises(Diverged, match=r"runs away at step \d+.*lower the learning rate"):
        for _ in range(50):
            step.run(Batch(x))


def test_decay_is_for_the_weights_alone_and_momentum_is_sgds() -> None:
    for optimizer in ("sgd", "adam"):
        model = RBM(BINARY, RBMConfig(hidden=3, optimizer=optimizer, momentum=0.7, weight_decay=0.1))
        weight, biases = model.optimizers(0.5)["model"].param_groups
        assert weight["params"] == [model.machine.weight] and weight["weight_decay"] == 0.1
        assert len(biases["params"]) == 2 and biases["weight_decay"] == 0
        assert optimizer == "adam" or weight["momentum"] == biases["momentum"] == 0.7


def test_reconstructions_of_a_machine_that_copies() -> None:
    model = RBM(BINARY, RBMConfig(hidden=6))
    model.machine.weight.data = 40 * torch.eye(6)
    for bias in (model.machine.hidden_bias, model.machine.visible_bias):
        bias.data.fill_(-20)
    assert torch.equal(model.reconstruct(every(BINARY)), every(BINARY))
    grey = make(SOFTMAX)
    h = grey.encode(every(SOFTMAX))
    p = grey.machine.outputs(h).unflatten(1, (-1, 3)).softmax(2)
    mean = sum(level * p[..., level] for level in range(3)).round()
    assert torch.equal(grey.decode(h).flatten(1), mean.to(torch.uint8))


@BOTH
def test_under_autocast_energies_are_float32_and_near(images: ImageSpec) -> None:
    model = make(images, dtype=torch.float32)
    batch = Batch(every(images)).with_(negative=every(images).flip(0))
    full = model.energy(batch.x)
    with torch.autocast("cpu", torch.bfloat16):
        half, loss = model.energy(batch.x), model.loss(batch)["loss"]
    assert half.dtype == loss.dtype == torch.float32
    torch.testing.assert_close(half, full, atol=0.1, rtol=0)
    loss.backward()
    assert bool(model.machine.weight.grad.isfinite().all())


@BOTH
def test_a_compiled_loss_is_the_loss(images: ImageSpec) -> None:
    model = make(images)
    batch = Batch(every(images)).with_(negative=every(images).roll(5, 0))
    before = model.loss(batch)["loss"]
    compiled = torch.compile(model.loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(batch)["loss"], before)
    model.machine.compile(backend="aot_eager")
    torch.testing.assert_close(model.loss(batch)["loss"], before)


def test_mnist_by_500_units_has_the_papers_parameters() -> None:
    with torch.device("meta"):
        machine = Machine(ImageSpec(channels=1, height=28, width=28, levels=2), 500)
    assert sum(p.numel() for p in machine.parameters()) == 784 * 500 + 784 + 500


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("k", 0, "at least 1"),
        ("hidden", 0, "at least 1"),
        ("distributions", 0, "at least 1"),
        ("chains", 0, "at least 2"),
        ("steps", 0, "at least 1"),
        ("momentum", 1.0, "below 1"),
        ("weight_decay", -1.0, "0 or more"),
        ("anneal", 1.5, "0 .none. to 1"),
        ("algorithm", "cdk", "one of 'cd', 'pcd'"),
    ],
)
def test_bad_configs_are_refused_by_name(field: str, value: object, what: str) -> None:
    with pytest.raises(ZooError, match=rf"RBMConfig\.{field}: expected .*{what}.*{value}"):
        RBMConfig(**{field: value})


def test_bad_requests_are_refused() -> None:
    model, x = make(BINARY), every(BINARY)[:3]
    known = torch.ones_like(x, dtype=torch.bool)
    for message, call in {
        r"sample: expected steps of at least 1.*got 0": lambda: model.sample(2, steps=0),
        r"sample: expected anneal.*got 2": lambda: model.sample(2, anneal=2),
        r"sample: expected anneal.*got '1'": lambda: model.sample(2, anneal="1"),
        r"complete: expected steps of at least 1.*got -1": lambda: model.complete(x, known, steps=-1),
        r"complete: expected a mask torch.bool \(3, 1, 2, 3\).*got torch.bool \(2, 1": lambda: model.complete(
            x, known[:2]
        ),
        r"complete: expected a mask.*got torch.uint8": lambda: model.complete(x, x),
        r"log_partition: expected chains of at least 2.*got 0": lambda: model.log_partition(chains=0),
        r"log_partition: expected distributions of at least 1.*got 0": lambda: model.log_partition(distributions=0),
        r"decode: expected hidden units \(N, 4\)": lambda: model.decode(torch.rand(2, 3)),
        r"expected uint8 pixels": lambda: model.energy(torch.rand(2, 1, 2, 3)),
        r"expected images of shape": lambda: model.encode(x[:, :, :, :2]),
    }.items():
        with pytest.raises(ZooError, match=message):
            call()
