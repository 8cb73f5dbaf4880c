"""What autoencoders without a likelihood have in common: two losses, tied weights, and no samples before a density."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from zoo_autoencoder.ae.config import AEConfig
from zoo_autoencoder.ae.model import AE
from zoo_autoencoder.cae.config import CAEConfig
from zoo_autoencoder.configs import SPECS
from zoo_autoencoder.dae.config import DAEConfig
from zoo_autoencoder.deterministic_config import DensityConfig, DeterministicConfig
from zoo_autoencoder.sae.config import SAEConfig
from zoo_autoencoder.stacked_ae.config import StackedAEConfig
from zoo_bench.datasets import load as data

import zoo_core
from zoo_core import Batch, ImageSpec, LocalStep, ZooError, weights
from zoo_core.step import Loss

IMAGES = ImageSpec(channels=3, height=5, width=3, levels=6)
SMALL = AEConfig(hidden=(16,), latent=3, density=DensityConfig(components=2))
OURS = [spec for spec in SPECS if issubclass(type(spec.config), DeterministicConfig)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some(n: int, images: ImageSpec = IMAGES) -> Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=rng(n), dtype=torch.uint8)


def make(config: AEConfig = SMALL, images: ImageSpec = IMAGES) -> AE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AE(images, config).eval()


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_the_loss_is_the_formula_subpixel_by_subpixel(loss: str) -> None:
    model, x = make(SMALL.override({"loss": loss})).double(), some(4)
    v = model.unit(x)
    torch.testing.assert_close(v, x.double() / 5, rtol=1e-6, atol=0)
    r = model.pixels(model.output(model.codes(v)))
    total = 0.0
    for x_d, r_d in zip(v.flatten().tolist(), r.flatten().tolist()):
        if loss == "squared":
            total += (x_d - r_d) ** 2
        else:
            total -= x_d * math.log(r_d) + (1 - x_d) * math.log(1 - r_d)
    metrics = model.loss(Batch(x))
    assert float(metrics["loss"].detach()) == pytest.approx(total / v.numel(), rel=1e-9)
    assert float(metrics["mse"]) == pytest.approx(float(F.mse_loss(r, v).detach()), rel=1e-9)


def backwards(model: AE, batch: Batch) -> float:
    """The loss, with its gradients in the parameters."""
    model.zero_grad()
    loss = model.loss(batch)["loss"]
    loss.backward()
    return float(loss.detach())


def test_a_linear_autoencoder_reaches_the_error_and_the_subspace_of_principal_components() -> None:
    """Bourlard and Kamp 1988; Baldi and Hornik 1989: the minimum, and there are no other local ones."""
    digits, latent = data.load("digits", "train"), 4  # the fifth component is well apart
    x = digits.pinned.x
    config = AEConfig(hidden=(), latent=latent, loss="squared")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AE(digits.images, config).double()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=150, line_search_fn="strong_wolfe")
    optimizer.step(lambda: backwards(model, Batch(x)))
    v = x.flatten(1).double() / 16
    centred = v - v.mean(0)
    _, _, rows = torch.linalg.svd(centred, full_matrices=False)
    best = centred - centred @ rows[:latent].T @ rows[:latent]
    with torch.no_grad():
        found = model.loss(Batch(x))["mse"]
        basis, _ = torch.linalg.qr(model.decoder[0].weight)  # (D, latent)
    assert 1 <= float(found / best.square().mean()) < 1.01
    cosines = torch.linalg.svdvals(rows[:latent] @ basis)  # of the angles between the two subspaces
    assert float(cosines.min()) > 0.99


@pytest.mark.parametrize("hidden", [(), (16,), (16, 7)])
def test_tied_weights_are_the_encoders_transposed(hidden: tuple[int, ...]) -> None:
    model = make(SMALL.override({"hidden": list(hidden), "tied": True})).double()
    for bias in model.decoder.biases:
        bias.data = torch.randn(bias.shape, generator=rng()).double()
    z, h = torch.randn(4, 3, generator=rng(1)).double(), None
    layers = [layer for layer in model.encoder if isinstance(layer, torch.nn.Linear)]
    h = z
    for k, layer in enumerate(reversed(layers)):
        h = (h if k == 0 else h.tanh()) @ layer.weight + model.decoder.biases[k]
    torch.testing.assert_close(model.output(z).flatten(1), h)
    untied = sum(p.numel() for p in make(SMALL.override({"hidden": list(hidden)})).parameters())
    assert untied - sum(p.numel() for p in model.parameters()) == sum(layer.weight.numel() for layer in layers)


@pytest.mark.parametrize("size", [(7, 5), (1, 4), (28, 28)])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_images_of_any_size_come_back_in_it(size: tuple[int, int], network: str) -> None:
    images = ImageSpec(channels=3, height=size[0], width=size[1], levels=6)
    model = make(SMALL.override({"network": network, "widths": [4, 6]}), images)
    x = some(3, images)
    assert model.encode(x).shape == (3, 3)
    assert model.reconstruct(x).shape == x.shape and model.reconstruct(x).dtype == torch.uint8
    assert model.interpolate(x[0], x[1], 4).shape == (4, *images.shape)
    assert model.traverse(x[0], [0, 2], [-1.0, 1.0]).shape == (4, *images.shape)


@pytest.mark.parametrize("spec", OURS, ids=lambda spec: spec.name)
def test_there_are_no_samples_before_finish_and_the_density_is_in_the_weights(
    spec: zoo_core.ModelSpec, tmp_path: Path
) -> None:
    model = spec.load_class()(IMAGES, spec.tiny)
    assert not model.can_draw
    with pytest.raises(ZooError, match=r"no density has been fitted .* `zoo train` fits one when the training ends"):
        model.sample(3)
    assert model.reconstruct(some(3)).shape == (3, *IMAGES.shape)  # what can be shown instead
    step = LocalStep(model, data=Batch(some(50)))
    step.run(Batch(some(50)))
    assert not model.can_draw
    step.finish()
    assert model.can_draw
    weights.save(model, tmp_path / "saved", spec.name)
    loaded = weights.load_folder(tmp_path / "saved")
    assert torch.equal(loaded.sample(5, generator=rng()), model.sample(5, generator=rng()))


def test_codes_are_drawn_inside_the_range_of_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    for code, (low, high) in {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, torch.inf), "linear": (-9, 9)}.items():
        model = make(SMALL.override({"code": code}))
        LocalStep(model, data=Batch(some(50))).finish()
        monkeypatch.setattr(model.density, "draw", lambda n, generator: torch.tensor([[-9.0, 0.5, 9.0]]).repeat(n, 1))
        seen.clear()
        monkeypatch.setattr(model, "output", lambda z: seen.append(z) or torch.zeros(len(z), *IMAGES.shape))
        model.sample(2)
        assert float(seen[0].min()) == max(low, -9) and float(seen[0].max()) == min(high, 9)


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (AEConfig, {"latent": 0}, "latent: expected at least 1"),
        (AEConfig, {"network": "conv", "tied": True}, 'tied: expected false where network = "conv"'),
        (AEConfig, {"weight_decay": -1.0}, "weight_decay: expected 0 or more"),
        (AEConfig, {"density.components": 0}, "components: expected at least 1"),
        (AEConfig, {"density.floor": 0.0}, "floor: expected a variance above 0"),
        (AEConfig, {"density.iterations": 0}, "iterations: expected at least 1"),
        (AEConfig, {"hidden": [0]}, "hidden: expected widths of at least 1"),
        (DAEConfig, {"level": 0.0}, "level: expected a standard deviation above 0"),
        (DAEConfig, {"corruption": "masking", "level": 1.0}, r"level: expected a share of the subpixels in \(0, 1\)"),
        (DAEConfig, {"corruption": "salt_and_pepper", "level": 0.0}, "for salt_and_pepper"),
        (DAEConfig, {"corruption": "pepper"}, "corruption: expected one of"),
        (SAEConfig, {"rho": 0.0}, r"rho: expected a mean activation in \(0, 1\)"),
        (SAEConfig, {"rho": 1.0}, r"rho: expected a mean activation in \(0, 1\)"),
        (SAEConfig, {"beta": -1.0}, "beta: expected 0 or more"),
        (SAEConfig, {"code": "relu"}, 'code: expected "sigmoid"'),
        (SAEConfig, {"sparsity": "l1"}, "sparsity: expected tied = true or weight_decay > 0"),
        (CAEConfig, {"contraction": -0.1}, "contraction: expected 0 or more"),
        (CAEConfig, {"tied": False}, "tied: expected true, or weight_decay > 0"),
        (StackedAEConfig, {"network": "conv"}, 'network: expected "mlp"'),
        (StackedAEConfig, {"tied": True}, "tied: expected false"),
        (StackedAEConfig, {"pretraining": 1.0}, r"pretraining: expected a share of the training in \[0, 1\)"),
    ],
)
def test_configs_that_mean_nothing_are_refused(
    config: type[DeterministicConfig], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ZooError, match=message):
        config().override(changes)


def test_images_too_small_for_the_strides_are_refused() -> None:
    with pytest.raises(ZooError, match="too small for 5 convolutions"):
        make(SMALL.override({"network": "conv", "widths": [4] * 5}))


def test_one_micro_batch_or_many_give_the_same_density() -> None:
    model = make()
    found = []
    for full_pass in (50, 7):
        LocalStep(model, data=Batch(some(50)), full_pass=full_pass).finish()
        found.append({name: value.clone() for name, value in model.density.state_dict().items()})
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-4, atol=1e-5)


def test_the_spec_of_each_says_that_there_is_no_likelihood() -> None:
    assert [spec.name for spec in OURS] == ["ae", "dae", "sae", "cae", "stacked_ae"]
    for spec in OURS:
        assert spec.likelihood == "none"
        assert dataclasses.asdict(spec.config)["density"]["components"] >= 1


class HalfStep(LocalStep):
    """Losses, and nothing else, in half precision: as the harness computes them."""

    def minimize(self, loss: Loss, batch: Batch, group: str = "model") -> Tensor | dict[str, Tensor]:
        def half(part: Batch) -> Tensor | dict[str, Tensor]:
            with torch.autocast("cpu", torch.bfloat16):
                return loss(part)

        return super().minimize(half, batch, group)


@pytest.mark.parametrize("spec", OURS, ids=lambda spec: spec.name)
def test_half_precision_trains_float32_weights(spec: zoo_core.ModelSpec) -> None:
    losses = []
    for kind in (LocalStep, HalfStep):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = spec.load_class()(IMAGES, spec.tiny)
        step = kind(model, steps=10)
        first, *_, last = [float(step.run(Batch(some(50)))["loss"]) for _ in range(10)]
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
        losses.append(last)
        assert spec.name == "stacked_ae" or last < first  # other layers there
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_compiled_networks_give_the_same_losses(network: str) -> None:
    config = SMALL.override({"network": network, "widths": [4]})
    eager, compiled = make(config), make(config)
    compiled.encoder.compile(backend="aot_eager")
    compiled.decoder.compile(backend="aot_eager")
    for model in (eager, compiled):
        step = LocalStep(model, lr=1e-2)
        for _ in range(5):
            step.run(Batch(some(20)))
    for one, two in zip(eager.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one, two)
