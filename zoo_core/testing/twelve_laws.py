"""The twelve laws. Each is a function of a `Case`: it returns if the law holds and raises `BrokenLaw` if not."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo_core import weights
from zoo_core.errors import ZooError
from zoo_core.images import dequantise
from zoo_core.model import GenerativeModel, HasELBO, HasLogDensity, HasLogProb, HasLogProbEstimate, likelihood_of
from zoo_core.testing.cases import (
    CLASSES,
    TRAIN_IMAGES,
    TRAIN_LR,
    TRAIN_STEPS,
    BrokenLaw,
    Case,
    NotApplicable,
    cell_masses,
    chi_square,
    draw,
    float64,
    iwae_probabilities,
    over,
    perturbed,
    repeat,
    require,
    seeded,
    structured_images,
)

LIKELIHOODS = ("log_prob", "log_density", "iwae", "elbo", "log_prob_estimate")


def builds(case: Case) -> None:
    """1. From JSON and back; every trainable parameter learns; numbers stay finite; the plugin imports no torch."""
    spec = case.spec
    for config in (spec.config, spec.tiny):
        read = type(config).from_dict(json.loads(config.to_json()))
        require(read == config, f"{config} comes back from JSON as {read}")
    word = likelihood_of(spec.load_class())
    require(word == spec.likelihood, f"the spec says likelihood={spec.likelihood!r}, the class's methods say {word!r}")
    draws = issubclass(spec.load_class(), GenerativeModel)
    require(
        draws == (spec.kind == "generative"), f"the spec says kind={spec.kind!r}; a GenerativeModel is one: {draws}"
    )
    require(not _imports_torch(spec.package), f"importing {spec.package} imports torch; `zoo list` cannot afford it")

    trained = case.trained()
    grouped = {id(p) for o in trained.model.optimizers(TRAIN_LR).values() for g in o.param_groups for p in g["params"]}
    trainable = {name: p for name, p in trained.model.named_parameters() if p.requires_grad}
    for name, parameter in trainable.items():
        require(id(parameter) in grouped, f"parameter {name} requires a gradient but belongs to no optimiser group")
        require(name in trained.moved, f"parameter {name} had no gradient, or only zeros, in {TRAIN_STEPS} steps")
    after = trained.model.state_dict()
    changed = [name for name, value in after.items() if not torch.equal(value, trained.before[name])]
    require(bool(changed) or not after, "training changed nothing")
    for name, value in after.items():
        finite = value.isfinite() if name in trainable else ~value.isnan()  # a buffer may hold -inf: a mask
        require(bool(finite.all()), f"{name} is not finite after training")
    for name, value in ((name, value) for metrics in trained.metrics for name, value in metrics.items()):
        require(value.dim() == 0 and not value.requires_grad, f"metric {name} must be 0-d and detached")
        require(math.isfinite(float(value)), f"metric {name} was {float(value)} in training")


@torch.no_grad()
def samples(case: Case) -> None:
    """2. Samples are images, reproducible, the same after saving and loading, the first k of n for every n; bad input
    is refused."""
    model, n, k = case.trained().model, 12, 5
    without: list[dict[str, Any]] = [{}] if case.conditioning != "none" else []  # then sample must draw some itself
    for condition in case.conditions(n) + without:
        before = _global_states(case)
        x = model.sample(n, generator=case.rng(1), **condition)
        same = all(map(torch.equal, before, _global_states(case)))
        require(same, "given a generator, sample still used the global one")
        require(x.dtype == torch.uint8, f"samples are {x.dtype}, expected uint8")
        require(tuple(x.shape) == (n, *case.images.shape), f"{n} samples have shape {tuple(x.shape)}")
        require(int(x.max()) < case.images.levels, f"a sample has a pixel of {int(x.max())}")
        require(torch.equal(x, model.sample(n, generator=case.rng(1), **condition)), "one seed gave two samples")
        with tempfile.TemporaryDirectory() as folder:
            weights.save(model, Path(folder) / "saved", case.spec.name)
            loaded: Any = weights.load_folder(Path(folder) / "saved", expected=case.spec, device=case.device)
        again = loaded.sample(n, generator=case.rng(1), **condition)
        require(torch.equal(x, again), "samples differ after saving and loading")
        few = model.sample(k, generator=case.rng(1), **{name: value[:k] for name, value in condition.items()})
        alike = float((few == x[:k]).double().mean())  # a network may round otherwise in a batch of another size
        require(alike > 0.9, f"the {k} samples of a seed are not the first of its {n}: draw noise by zoo_core.chunks")
    _refused("sample(0)", lambda: model.sample(0))
    labels = torch.zeros(3, dtype=torch.int64, device=case.device)
    if case.conditioning == "class":
        for what, bad in {
            "a label >= classes": labels + CLASSES,
            "a negative label": labels - 1,
            "two labels for three samples": labels[:2],
            "labels that are no integers": labels.float(),
        }.items():
            _refused(f"sample with {what}", functools.partial(model.sample, 3, labels=bad))
    else:
        _refused("sample with labels", lambda: model.sample(3, labels=labels))
    if case.conditioning == "text":
        _refused("sample with two captions for three samples", lambda: model.sample(3, text=["a"] * 2))
        _refused("sample with a string for three captions", lambda: model.sample(3, text="abc"))
    else:
        _refused("sample with text", lambda: model.sample(3, text=["a"] * 3))

    x, levels = case.data().x[:2], case.images.levels
    for method in (name for name in LIKELIHOODS if case.has(name)):
        real = method == "log_density"
        good = dequantise(x, case.images, case.rng(0))[0] if real else x
        unconditional = {"n": 2} if method == "iwae" else {}
        options = {**case.conditions(2)[0], **unconditional}
        if options != unconditional:
            _refused(f"{method} without a condition", functools.partial(getattr(model, method), good, **unconditional))
        wrong = {"integers" if real else "a float image": x if real else x / 255}
        wrong |= {"another shape": good[:, :, :, :-1], "an image without a batch": good[0]}
        if levels < 256 and not real:
            wrong["a pixel that is too large"] = torch.full_like(x, levels)
        for what, value in wrong.items():
            _refused(f"{method} of {what}", functools.partial(getattr(model, method), value, **options))


@torch.no_grad()
def normalised(case: Case) -> None:
    """3. log_prob is deterministic and sums to 1 over all images: trained, and again with every parameter perturbed."""
    trained, x = case.trained().model, case.all_images()
    for state, model in (("trained", trained), ("perturbed", perturbed(trained))):
        log_prob = cast(HasLogProb, model).log_prob
        for k, condition in enumerate(case.conditions(1)):
            once, again = (over(x[:64], log_prob, condition) for _ in range(2))
            require(torch.equal(once, again), "two calls of log_prob differ: it is random, so it is not exact")
            total = float(over(x, log_prob, condition).exp().sum())
            require(abs(total - 1) < 1e-5, f"{state}, condition {k}: P sums to {total:.7f} over all {len(x)} images")


@torch.no_grad()
def integrates(case: Case) -> None:
    """4. log_density is deterministic and integrates to 1 over [-4, 5]^2."""
    log_density = cast(HasLogDensity, case.trained().model).log_density
    v = dequantise(case.data().x[:64], case.images, case.rng(0))[0]
    for k, condition in enumerate(case.conditions(1)):
        once, again = (over(v, log_density, condition) for _ in range(2))
        require(torch.equal(once, again), "two calls of log_density differ: it is random, so it is not exact")
        total = float(cell_masses(case, k).sum())
        require(abs(total - 1) <= 0.02, f"condition {k}: the density integrates to {total:.4f}")


@torch.no_grad()
def bounded(case: Case) -> None:
    """5. exp of an importance-weighted bound sums to 1 in expectation; exp of an ELBO to no more; ELBO <= IWAE."""
    x = case.all_images()
    for k, condition in enumerate(case.conditions(1)):
        if case.has("iwae"):
            p, _ = iwae_probabilities(case, k)
            total = float(p.sum())
            require(0.97 < total < 1.01, f"condition {k}: exp(iwae) sums to {total:.4f} over all {len(x)} images")
        if case.has("elbo"):
            elbo, generator = cast(HasELBO, case.trained().model).elbo, case.rng(3)
            runs = torch.stack([over(x, elbo, condition, draws=25, generator=generator) for _ in range(12)])
            mean, error = runs.mean(0), runs.std(0) / math.sqrt(len(runs))  # (images,), of 300 draws
            total, slack = float(mean.exp().sum()), 3 * float((mean.exp() * error).square().sum().sqrt())
            require(total <= 1 + slack + 1e-5, f"condition {k}: exp(elbo) sums to {total:.4f} > 1 + {slack:.4f}")
            if case.has("iwae"):
                above = float((p * (mean - p.log())).sum())  # -KL(q || posterior), averaged over the model's own images
                require(above <= 0.01, f"condition {k}: elbo is {above:.4f} nats above the importance-weighted bound")


@torch.no_grad()
def estimated(case: Case) -> None:
    """6. exp(log_prob_estimate) sums to about 1."""
    x, generator = case.all_images(), case.rng(4)
    estimate = cast(HasLogProbEstimate, case.trained().model).log_prob_estimate
    for k, condition in enumerate(case.conditions(1)):
        total = float(over(x, estimate, condition, generator=generator).exp().sum())
        require(0.95 < total < 1.05, f"condition {k}: exp(log_prob_estimate) sums to {total:.4f}")


@torch.no_grad()
def sampled(case: Case) -> None:
    """7. The sampler samples the likelihood: chi-square of 20,000 samples against every image's probability."""
    model, n, x = case.trained().model, 20_000, case.all_images()
    for k, condition in enumerate(case.conditions(1)):
        noise = torch.zeros(len(x), dtype=torch.float64, device=case.device)
        if isinstance(model, HasLogProb):
            p = over(x, model.log_prob, condition).exp()
        elif isinstance(model, HasLogDensity):
            p = cell_masses(case, k)
        else:
            p, noise = iwae_probabilities(case, k)
        images = draw(model, n, condition)
        place = case.images.levels ** torch.arange(case.images.dims - 1, -1, -1, device=case.device)
        counts = torch.bincount((images.flatten(1).long() * place).sum(1), minlength=len(x))
        z = chi_square(counts.double(), n * p, n * n * noise)
        require(z < 5, f"condition {k}: {n} samples are {z:.1f} standard deviations from the likelihood")


@torch.no_grad()
def ordered(case: Case) -> None:
    """8. The conditionals add up to log_prob; each depends on every earlier subpixel and on no later one.

    Columns are in sampling order, which the law need not know: the first column that a subpixel changes is its own, so
    these columns must be a permutation, and every column behind must change too.
    """
    model: Any = perturbed(case.trained().model).double()
    x, dims, levels = case.data().x[:64], case.images.dims, case.images.levels
    condition = repeat(case.conditions(1)[0], len(x))
    with float64():
        base = model.log_conditionals(x, **condition)
        require(tuple(base.shape) == (len(x), dims), f"log_conditionals has shape {tuple(base.shape)}")
        error = float((base.sum(1) - model.log_prob(x, **condition)).abs().max())
        require(error < 1e-6, f"the conditionals' sum differs from log_prob by {error:.2g}")
        first = []
        for pixel in range(dims):
            changes = torch.zeros(dims, dtype=torch.bool, device=case.device)
            for shift in range(1, min(levels, 4)):
                other = x.flatten(1).clone()
                other[:, pixel] = (other[:, pixel].int() + shift) % levels
                changes |= ((model.log_conditionals(other.view_as(x), **condition) - base).abs() > 1e-10).any(0)
            require(bool(changes.any()), f"no conditional depends on subpixel {pixel}")
            first.append(int(changes.int().argmax()))
            blind = [column for column in range(first[-1], dims) if not changes[column]]
            require(not blind, f"subpixel {pixel} is in conditional {first[-1]}, but {blind} don't see it")
    require(sorted(first) == list(range(dims)), f"conditionals depend on later subpixels: first seen by {first}")


def accumulates(case: Case) -> None:
    """9. Training by uneven micro-batches is training by the whole batch, in float64 (BatchNorm is exempt)."""
    with float64():
        start = case.build().double()
        for module in start.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.0
        states = []
        for micro_batch, full_pass in ((None, TRAIN_IMAGES), (7, 170)):
            model = copy.deepcopy(start)
            with seeded():
                step = case.step(model, 3, micro_batch=micro_batch, full_pass=full_pass)
                for batch in case.batches(3, 20):
                    step.run(batch)
            states.append(model.state_dict())
        _same(*states, tolerance=1e-7, what="micro-batches of 7, 7 and 6 instead of 20 change")


@torch.no_grad()
def labels_matter(case: Case) -> None:
    """10. Labels (or captions) change the samples, some subpixel's mean by 5 standard errors, and every likelihood.

    A class's own training images are likelier under its label than under another's: on average, over all by 5 standard
    errors.
    """
    model, n = case.trained().model, 1000
    one, two = (draw(model, n, condition).double() for condition in case.conditions(1)[:2])
    error = ((one.var(0) + two.var(0)) / n).sqrt().clamp_min(1e-9)  # (C, H, W)
    z = float(((one.mean(0) - two.mean(0)).abs() / error).max())
    require(z > 5, f"samples of two conditions differ by {z:.1f} standard errors at most")

    classes = structured_images(case.images, TRAIN_IMAGES)[1].to(case.device)
    for method in (name for name in LIKELIHOODS if case.has(name)):
        gains = []
        for k in range(CLASSES):
            x = case.data().x[classes == k]
            right, wrong = (_likelihood(case, method, x, label) for label in (k, (k + 1) % CLASSES))
            gain = (right - wrong).nan_to_num(0, 100, -100)  # where the images are impossible under one, or under both
            require(bool(gain.mean() > 0), f"{method} must find images of class {k} likelier under their own label")
            gains.append(gain)
        gain = torch.cat(gains)
        z = float(gain.mean() / (gain.std() / math.sqrt(len(gain))).clamp_min(1e-9))
        require(z > 5, f"{method} finds images likelier under their own label by {z:.1f} standard errors only")


def inverts(case: Case) -> None:
    """11. Flows: inverse(flow(v)) = v, and the log-determinant is autograd's, in float64."""
    model: Any = copy.deepcopy(case.trained().model).double()
    with float64():
        v = dequantise(case.data().x[:8], case.images, case.rng(5))[0]
        with torch.no_grad():
            z, log_det = model.flow(v)
            error = float((model.inverse(z) - v).abs().max())
        require(error < 1e-5, f"inverse(flow(v)) differs from v by {error:.2g}")
        for i in range(len(v)):
            jacobian = torch.func.jacrev(lambda part: model.flow(part)[0].flatten())(v[i : i + 1])
            exact = torch.linalg.slogdet(jacobian.reshape(case.images.dims, case.images.dims))[1]
            error = abs(float(exact.detach() - log_det[i]))
            require(error < 1e-5, f"the log-determinant differs from autograd's by {error:.2g}")


def never_falls(case: Case) -> None:
    """11. EM: the likelihood of the whole training set never falls in a full pass. Running statistics of batches may.

    Discrete models are watched through log_prob. A density stands behind all dequantisations at once, and what EM
    climbs is the model's own affair: it reports that as "loss", and a pinned draw must end no lower than it began;
    without a "loss" the pinned draw itself must never fall.
    """
    exact = case.has("log_prob")
    with float64():
        model: Any = case.build().double()
        data = case.data()
        x = data.x if exact else dequantise(data.x, case.images, case.rng(6))[0]
        given: dict[str, dict[str, Any]] = {"class": {"labels": data.labels}, "text": {"text": data.text}}
        condition = given.get(case.conditioning, {})
        full, climbed, likelihoods = [], [], []
        step = case.step(model, 12)
        for batch in case.batches(12):
            metrics = step.run(batch)
            full.append(step.images_in_full_passes > 0)
            with torch.no_grad():
                likelihood = (model.log_prob if exact else model.log_density)(x, **condition)
            likelihoods.append(float(likelihood.mean()))
            measured = exact or "loss" not in metrics  # after the step; a loss is of before it
            climbed.append(likelihoods[-1] if measured else -float(metrics["loss"]))
    if not any(full):
        raise NotApplicable("no step makes a full pass")
    steps = zip(itertools.pairwise(climbed), itertools.pairwise(full))
    fall = max((a - b for (a, b), (before, now) in steps if now and (before or measured)), default=0.0)
    require(fall <= 1e-7, f"it fell by {fall:.3g} nats in a full pass: {climbed}")
    sank = all(full) and likelihoods[-1] < likelihoods[0] - 1e-7
    require(not sank, f"it ended below its beginning: {likelihoods}")


def resumes(case: Case) -> None:
    """12. k steps, checkpoint, k steps = 2k steps, bit for bit: with those kernels of a GPU that repeat themselves."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        _resumes(case)


def _resumes(case: Case) -> None:
    k, straight, resumed = 3, case.build(), case.build()
    batches = list(case.batches(2 * k))
    step = case.step(straight, 2 * k)
    for i, batch in enumerate(batches):
        if i == k:
            saved = copy.deepcopy((straight.state_dict(), step.state_dict()))
        with seeded(i):
            step.run(batch)
    resumed.load_state_dict(saved[0])
    step = case.step(resumed, 2 * k)
    step.load_state_dict(saved[1])
    for i, batch in enumerate(batches[k:], k):
        with seeded(i):
            step.run(batch)
    _same(straight.state_dict(), resumed.state_dict(), tolerance=0, what="a training resumed from a checkpoint changes")


def _global_states(case: Case) -> list[Tensor]:
    """What nobody but the caller may draw from: torch's global generators."""
    on_gpu = torch.device(case.device).type == "cuda"
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(case.device)] if on_gpu else [])]


def _likelihood(case: Case, method: str, x: Tensor, k: int) -> Tensor:
    """A likelihood of images under condition k, with the same noise for every k, float64 `(N,)`."""
    options: dict[str, Any] = {} if method in ("log_prob", "log_density") else {"generator": case.rng(9)}
    options |= {"iwae": {"n": 16}, "elbo": {"draws": 4}}.get(method, {})
    v = dequantise(x, case.images, case.rng(10))[0] if method == "log_density" else x
    return over(v, getattr(case.trained().model, method), case.conditions(1)[k], **options)


def _refused(what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except ZooError:
        return
    except Exception as error:
        raise BrokenLaw(f"{what}: expected a ZooError, got {type(error).__name__}: {error}") from error
    raise BrokenLaw(f"{what} was accepted; expected a ZooError")


def _same(one: Mapping[str, Tensor], two: Mapping[str, Tensor], *, tolerance: float, what: str) -> None:
    for name, value in one.items():
        error = float((value.double() - two[name].double()).abs().max()) if value.numel() else 0.0
        require(error <= tolerance, f"{what} {name} by {error:.2g}")


@functools.cache
def _imports_torch(package: str) -> bool:
    code = (
        "import importlib, importlib.util, sys; name = sys.argv[1]; importlib.import_module(name)\n"
        "if importlib.util.find_spec(name + '.configs'): importlib.import_module(name + '.configs')\n"
        "sys.exit(3 if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, package], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise BrokenLaw(f"importing {package} alone fails: {done.stderr.strip().splitlines()[-1]}")
    return done.returncode == 3
