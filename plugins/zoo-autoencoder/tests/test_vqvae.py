"""VQ-VAE's two stages: the bound by enumeration, data of known entropy, codes as images, what stays frozen."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from zoo_autoencoder.vqvae.config import TINY, VQVAECodesConfig, VQVAEConfig
from zoo_autoencoder.vqvae.first_stage import VQVAECodes
from zoo_autoencoder.vqvae.model import VQVAE
from zoo_autoregressive.configs import GatedPixelCNNConfig

import zoo_core
from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.step import Trainable
from zoo_core.testing import conformance, structured_images
from zoo_core.testing.cases import chi_square, float64

SMALL = ImageSpec(channels=1, height=2, width=2, levels=3)  # 81 images
PRIOR = GatedPixelCNNConfig(width=8, layers=2, head=8, inputs="onehot", input_kernel=3)
FSQ = dataclasses.replace(TINY, quantiser="fsq", levels=(3, 2))
KINDS = {"vq": dataclasses.replace(TINY, codes=5), "fsq": FSQ}


def _with_fsq() -> list[Any]:
    codes, both = zoo_core.spec("vqvae_codes"), zoo_core.spec("vqvae")
    return [
        dataclasses.replace(codes, tiny=FSQ),
        dataclasses.replace(both, tiny=VQVAEConfig(first_stage=FSQ, prior=PRIOR)),
    ]


test_laws_with_finite_scalars = conformance(_with_fsq())


def fit(model: Trainable, batch: Batch, steps: int, lr: float = 5e-3) -> list[dict[str, Tensor]]:
    step = LocalStep(model, lr=lr, data=batch, steps=steps)
    metrics = [step.run(batch) for _ in range(steps)]
    step.finish()
    return metrics


def both(
    images: ImageSpec, stage: VQVAECodesConfig, batch: Batch, *, lr: float = 5e-3, conditional: bool = False
) -> VQVAE:
    """First stage and prior, trained on one batch."""
    torch.manual_seed(0)
    codes = VQVAECodes(images, stage)
    fit(codes, batch, 150, lr)
    prior = dataclasses.replace(PRIOR, conditional=conditional)
    model = VQVAE(images, VQVAEConfig(first_stage=stage, prior=prior))
    model.first_stage.load_state_dict(codes.state_dict())
    fit(model, batch, 150, lr)
    return model.eval()


@functools.cache
def toy(kind: str) -> VQVAE:
    return both(SMALL, KINDS[kind], Batch(structured_images(SMALL, 200)[0]))


def every(images: ImageSpec) -> Tensor:
    levels = torch.arange(images.levels, dtype=torch.uint8)
    return torch.cartesian_prod(*[levels] * images.dims).view(-1, *images.shape)


@torch.no_grad()
def log_probabilities(model: VQVAE) -> Tensor:
    """log P(x) = log sum_z p(x | z) p(z) of every image, all code images one by one. `(images,)`."""
    x, z = every(model.images), every(model.prior.images)
    stage, log_prior = model.first_stage, model.log_prior(z)
    assert float(log_prior.exp().sum()) == pytest.approx(1, abs=1e-5)
    total = torch.full((len(x),), -math.inf, dtype=torch.float64)
    for part, log_p in zip(z.split(100), log_prior.split(100)):
        params = stage.decoder(stage.vectors(part))
        given = stage.observation.log_likelihood(x, params.expand(len(x), -1, -1))  # (images, codes)
        total = torch.logaddexp(total, (given.double() + log_p).logsumexp(1))
    return total


@pytest.mark.parametrize("kind", KINDS)
def test_the_elbo_is_below_the_enumerated_likelihood_which_sums_to_one(kind: str) -> None:
    model = toy(kind)
    log_p, elbo = log_probabilities(model), model.elbo(every(SMALL))
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-5)
    assert bool((elbo < log_p + 1e-6).all())
    assert float(elbo.exp().sum()) > 0.3  # not by being nothing
    assert torch.equal(elbo, model.elbo(every(SMALL), draws=3))
    torch.testing.assert_close(elbo[:7], model.elbo(every(SMALL)[:7]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_follow_the_enumerated_likelihood(kind: str) -> None:
    model, n = toy(kind), 20_000
    x = model.sample(n, generator=torch.Generator().manual_seed(0))
    place = 3 ** torch.arange(3, -1, -1)
    counts = torch.bincount((x.flatten(1).long() * place).sum(1), minlength=81).double()
    assert chi_square(counts, n * log_probabilities(model).exp(), torch.zeros(81)) < 5


def test_on_data_of_known_entropy_the_bound_comes_near_it_from_below() -> None:
    """Four pictures, equally often: -ln 4 nats each, and no bound averages more."""
    images = ImageSpec(channels=1, height=2, width=2, levels=2)
    x = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1], [1, 0, 0, 1]], dtype=torch.uint8).view(4, 1, 2, 2)
    model = both(images, dataclasses.replace(TINY, codes=4), Batch(x.repeat(8, 1, 1, 1)), lr=2e-2)
    elbo = model.elbo(x)
    assert -math.log(4) - 0.2 < float(elbo.mean()) <= -math.log(4)
    assert torch.equal(model.reconstruct(x), x)


def test_the_elbo_is_what_the_two_stages_minimise() -> None:
    model, batch = toy("vq"), Batch(structured_images(SMALL, 50, seed=1)[0])
    with torch.no_grad():
        nats = model.first_stage.loss(batch)["nll"] + model.loss(batch)
    assert float(-model.elbo(batch.x).mean()) == pytest.approx(float(nats), rel=1e-5)


def test_the_prior_learns_the_same_codes_under_mixed_precision() -> None:
    images = ImageSpec(channels=1, height=16, width=16, levels=17)
    torch.manual_seed(0)
    model = VQVAE(images, VQVAEConfig(first_stage=dataclasses.replace(TINY, codes=256), prior=PRIOR))
    x, learned = structured_images(images, 40)[0], []
    codes = model.encode(x)
    model.prior.loss = lambda batch: (learned.append(batch.x), torch.zeros(()))[1]  # type: ignore[method-assign]
    with torch.autocast("cpu", torch.bfloat16):
        model.loss(Batch(x))
        assert torch.equal(model.encode(x), codes)
    assert torch.equal(learned[0], codes)


def test_only_the_prior_learns_and_the_first_stage_stays_in_evaluation_mode() -> None:
    model = VQVAE(SMALL, VQVAEConfig(first_stage=TINY, prior=PRIOR))
    before = {key: value.clone() for key, value in model.first_stage.state_dict().items()}
    grouped = {id(p) for o in model.optimizers(1e-3).values() for g in o.param_groups for p in g["params"]}
    assert (
        grouped == {id(p) for p in model.prior.parameters()} == {id(p) for p in model.parameters() if p.requires_grad}
    )
    model.train()
    assert model.prior.training and not model.first_stage.training
    fit(model, Batch(structured_images(SMALL, 50)[0]), 5)
    assert all(torch.equal(before[key], value) for key, value in model.first_stage.state_dict().items())
    assert all(p.grad is None for p in model.first_stage.parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 7, 5), (3, 8, 9), (1, 1, 4), (3, 13, 4)])
def test_odd_sizes_come_back_exactly_and_codes_are_images(kind: str, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    images = ImageSpec(channels=channels, height=height, width=width, levels=7)
    stage = VQVAECodes(images, dataclasses.replace(KINDS[kind], widths=(4, 5, 6)))
    x = structured_images(images, 6)[0]
    fit(stage, Batch(x), 2)
    codes = stage.encode(x)
    small = [math.ceil(math.ceil(side / 2) / 2) for side in (height, width)]
    assert codes.dtype == torch.uint8 and list(codes.shape) == [6, 1, *small]
    assert int(codes.max()) < stage.code_images.levels == stage.config.alphabet
    again = stage.decode(codes)
    assert again.shape == x.shape and again.dtype == torch.uint8 and int(again.max()) < 7
    assert torch.equal(again, stage.reconstruct(x))


def test_images_too_small_for_the_strides_are_refused() -> None:
    images = ImageSpec(channels=1, height=1, width=2, levels=4)
    message = r"images of 1×2 are too small for 2 convolutions of stride 2: give at most 2 widths$"
    with pytest.raises(ZooError, match=message):
        VQVAECodes(images, VQVAECodesConfig(widths=(4, 4, 4)))
    VQVAECodes(images, VQVAECodesConfig(widths=(4, 4)))


def test_codes_of_a_wrong_kind_are_refused() -> None:
    model = toy("vq")
    good = model.encode(structured_images(SMALL, 3)[0])
    wrong = {
        "shape": (good[:, :, :1], r"\(N, 1, 2, 2\).*got \(3, 1, 1, 2\)"),
        "number": (good + 5, r"pixels 0\.\.4 .* got a pixel of"),
        "kind": (good.float(), "got torch.float32"),
    }
    for codes, message in wrong.values():
        with pytest.raises(ZooError, match=rf"VQVAECodes\.decode: expected codes as encode\(\) gives them.*{message}"):
            model.decode(codes)
    for call in (
        lambda: model.encode(good.float()),
        lambda: model.elbo(good + 3),
        lambda: model.elbo(good % 3, draws=0),
        lambda: model.elbo(good % 3, draws=1.5),
        lambda: model.reconstruct(good[:0]),
        lambda: model.first_stage.reconstruct(good[:0]),
        lambda: model.decode(good[:0]),
    ):
        with pytest.raises(ZooError):
            call()
    with pytest.raises(ZooError, match="n of at least 1"):
        model.sample(0)


def test_interpolation_goes_from_one_reconstruction_to_the_other() -> None:
    model, x = toy("vq"), structured_images(SMALL, 20)[0]
    a, b = x[0], x[11:12]
    path = model.interpolate(a, b, 7)
    assert path.shape == (7, 1, 2, 2)
    assert torch.equal(path[[0, -1]], model.reconstruct(torch.cat([a[None], b])))
    for arguments in ((a, b, 1), (a, b, 2.5), (a, x[:2], 5), (a, None, 5), (a, b[:, :, 1:], 5)):
        with pytest.raises(ZooError, match=r"VQVAE\.interpolate"):
            model.interpolate(*arguments)


def test_samples_without_noise_are_means_of_codes_that_the_prior_draws() -> None:
    model = toy("vq")
    x = model.sample(40, generator=torch.Generator().manual_seed(3), noise=False, temperature=0.8)
    codes = model.prior.sample(40, generator=torch.Generator().manual_seed(3), temperature=0.8)
    assert torch.equal(x, model.decode(codes))


def test_a_completion_keeps_known_pixels_and_the_codes_of_known_squares() -> None:
    images = ImageSpec(channels=1, height=7, width=6, levels=5)
    torch.manual_seed(0)
    stage = dataclasses.replace(TINY, widths=(4, 4))
    model = VQVAE(images, VQVAEConfig(first_stage=stage, prior=PRIOR)).eval()
    x = structured_images(images, 9)[0]
    assert torch.equal(model.complete(x, torch.ones_like(x, dtype=torch.bool)), x)
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask[:, :, :3] = True  # the first row of codes and half of the second
    kept: list[Tensor] = []
    inner = model.prior.complete
    model.prior.complete = lambda codes, known, **options: kept.append(known) or inner(codes, known, **options)
    y = model.complete(x, mask, generator=torch.Generator().manual_seed(0))
    assert torch.equal(y[mask], x[mask]) and not torch.equal(y, x)
    assert kept[0].shape == (9, 1, 4, 3) and kept[0][0, 0].any(1).tolist() == [True, False, False, False]
    with pytest.raises(ZooError, match=r"expected a mask torch\.bool"):
        model.complete(x, mask.float())


def test_labels_condition_the_prior() -> None:
    images = dataclasses.replace(SMALL, classes=3)
    x, labels = structured_images(images, 150)
    model = both(images, TINY, Batch(x, labels), conditional=True)
    right, wrong = model.elbo(x, labels=labels), model.elbo(x, labels=(labels + 1) % 3)
    assert float((right - wrong).mean()) > 0.5
    torch.testing.assert_close(model.elbo(x[:9], labels=labels[:9]), right[:9], rtol=1e-5, atol=1e-5)
    drawn = model.sample(500, labels=torch.ones(500, dtype=torch.int64), generator=torch.Generator().manual_seed(0))
    distance = [(drawn.double().mean(0) - x[labels == k].double().mean(0)).abs().sum() for k in range(3)]
    assert min(range(3), key=distance.__getitem__) == 1
    assert model.sample(5).shape == (5, 1, 2, 2)
    torch.testing.assert_close(model.prior.frequencies.share, torch.bincount(labels) / 150)
    with pytest.raises(ZooError, match="pass labels"):
        model.elbo(x)
    with pytest.raises(ZooError, match="expected images with classes"):
        VQVAE(SMALL, model.config)


def test_the_first_batch_fills_the_codebook_and_a_second_training_leaves_it() -> None:
    x = structured_images(SMALL, 60)[0]
    stage = VQVAECodes(SMALL, dataclasses.replace(TINY, decay=0.0, restart=0.0))
    h = stage.latents(x).detach().movedim(1, -1).reshape(-1, TINY.dimension)
    metrics = fit(stage, Batch(x), 1)
    assert stage.quantiser.initialised
    low, high = h.amin(0) - 1e-6, h.amax(0) + 1e-6  # every code is a mean of what was assigned to it, or where it began
    assert bool(((stage.quantiser.codebook >= low) & (stage.quantiser.codebook <= high)).all())
    assert 1 <= float(metrics[0]["perplexity"]) <= TINY.codes
    before = stage.quantiser.codebook.clone()
    stage.quantiser.update = lambda statistics: None  # type: ignore[method-assign]
    fit(stage, Batch(x), 1)
    assert torch.equal(before, stage.quantiser.codebook)


@pytest.mark.parametrize("levels", [3, 64])
def test_micro_batches_give_the_same_step_where_codes_are_more_than_places(levels: int) -> None:
    """A code per image of two pixels, as for the packaged moons; with few levels, images that are equal."""
    images = ImageSpec(channels=1, height=1, width=2, levels=levels)
    stage = dataclasses.replace(TINY, widths=(8, 8), codes=64)
    batch = Batch(structured_images(images, 20)[0])
    with float64():
        torch.manual_seed(0)
        start = VQVAECodes(images, stage)
        states = []
        for size in (None, 7):
            model = copy.deepcopy(start)
            step = LocalStep(model, steps=25, micro_batch=size)  # two restarts
            for _ in range(25):
                step.run(batch)
            states.append(model.state_dict())
    torch.testing.assert_close(*states, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_and_compilation(kind: str) -> None:
    images = ImageSpec(channels=3, height=8, width=8, levels=256)
    torch.manual_seed(0)
    stage = VQVAECodes(images, dataclasses.replace(KINDS[kind], widths=(4, 8)))
    batch = Batch(structured_images(images, 8)[0])
    plain = stage.loss(batch)
    with torch.autocast("cpu", torch.bfloat16):
        half = stage.loss(batch)
    assert half["loss"].dtype == torch.float32
    assert float(half["loss"].detach()) == pytest.approx(float(plain["loss"].detach()), rel=0.05)
    for name in ("encoder", "decoder"):
        getattr(stage, name).compile(backend="aot_eager")
    assert float(stage.loss(batch)["loss"].detach()) == pytest.approx(float(plain["loss"].detach()), rel=1e-5)
    stage.to(memory_format=torch.channels_last)
    assert float(stage.loss(batch)["nll"]) == pytest.approx(float(plain["nll"]), rel=1e-4)
