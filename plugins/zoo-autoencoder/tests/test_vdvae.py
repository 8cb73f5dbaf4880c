"""The very deep VAE: its sizes, its start, its precision, its parameter count."""

from __future__ import annotations

import copy

import pytest
import torch
from zoo_autoencoder.vdvae.config import VDVAEConfig
from zoo_autoencoder.vdvae.model import VDVAE
from zoo_autoencoder.vdvae.network import pooled

from zoo_core import Batch, ImageSpec, LocalStep, ZooError

SMALL = VDVAEConfig(pooling=(2, 2), up=(1, 1, 1), down=(2, 1, 1), width=12, bottleneck=8, latents=2)
COLOUR = ImageSpec(channels=3, height=7, width=5, levels=9)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(images: ImageSpec = COLOUR, config: VDVAEConfig = SMALL, noise: float = 0.05) -> VDVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VDVAE(images, config).eval()
        for parameter in model.parameters():
            parameter.data += noise * torch.randn_like(parameter)
    return model


def some(images: ImageSpec, n: int) -> torch.Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=rng(1), dtype=torch.uint8)


def batch_of(model: VDVAE, n: int = 6) -> Batch:
    return Batch(some(model.images, n)).with_(eps=torch.randn(n, 1, model.latent, generator=rng(2)))


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (3, 11), (4, 1), (28, 28), (1, 3)])
def test_any_size_comes_back_exactly(size: tuple[int, int]) -> None:
    images = ImageSpec(channels=1, height=size[0], width=size[1], levels=4)
    model, x = make(images), some(images, 3)
    assert model.reconstruct(x).shape == model.sample(3, generator=rng()).shape == x.shape
    assert model.encode(x).shape == (3, model.latent)
    half, quarter = ((-(-size[0] // f), -(-size[1] // f)) for f in (2, 4))
    count = [2 * h * w for h, w in (quarter, half, size, size)]
    assert list(model.layers) == count


def test_pooling_averages_the_places_that_there_are() -> None:
    h = torch.rand(2, 3, 5, 7, generator=rng())
    out = pooled(h, 2)
    assert out.shape == (2, 3, 3, 4)
    for i in range(3):
        for j in range(4):
            window = h[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            torch.testing.assert_close(out[:, :, i, j], window.mean((2, 3)))


def test_images_too_small_for_the_pooling_are_refused() -> None:
    with pytest.raises(ZooError, match=r"images of 2×1 are too small for pooling by \(2, 2\): give at most 1 factor"):
        VDVAE(ImageSpec(channels=1, height=2, width=1), SMALL)


def test_priors_start_standard_normal_and_blocks_add_by_the_inverse_root_of_the_depth() -> None:
    for depth in (1, 4):
        config = SMALL.override({"down": (depth, depth, depth)})
        torch.manual_seed(0)
        model = VDVAE(COLOUR, config)
        blocks = model.decoder.blocks()
        assert len(blocks) == 3 * depth
        layer = model.infer(model.see(some(COLOUR, 2)), torch.randn(2, 1, model.latent, generator=rng())).layers[-1]
        assert not layer.prior_mean.any() and not layer.prior_log_var.any()
        for block in blocks:
            for weight, fan_in in ((block.residual[-1].weight, 8), (block.project.weight, 2)):
                uniform = fan_in**-0.5  # torch's bound of a convolution's initial weights
                assert 0.7 * uniform < float(weight.detach().abs().max()) * (3 * depth) ** 0.5 <= uniform


@torch.no_grad()
def test_the_activations_of_a_deep_network_stay_of_one_size() -> None:
    spread = []
    for depth in (2, 24):
        torch.manual_seed(0)
        model = VDVAE(COLOUR, SMALL.override({"down": (depth, depth, depth)}))
        params = model.generate(torch.randn(16, model.latent, generator=rng()))
        spread.append(float(params.std()))
    assert spread[1] < 2 * spread[0]


def test_every_layer_below_depends_on_the_layers_above() -> None:
    model = make(noise=0.2)
    u = torch.randn(1, model.latent, generator=rng())
    other = u.clone()
    other[:, : model.layers[0]] += 1
    assert (model.generate(u) != model.generate(other)).any()
    draws = [model.infer(model.see(some(COLOUR, 1)), e[:, None]).layers for e in (u, other)]
    for one, two in list(zip(*draws))[1:]:
        assert (one.prior_mean != two.prior_mean).any() and (one.mean != two.mean).any()


def test_channels_last_gives_the_same_numbers() -> None:
    model = make()
    other = copy.deepcopy(model).to(memory_format=torch.channels_last)
    batch = batch_of(model)
    torch.testing.assert_close(other.loss(batch)["loss"], model.loss(batch)["loss"])
    u = torch.randn(3, model.latent, generator=rng())
    torch.testing.assert_close(other.generate(u), model.generate(u), rtol=1e-4, atol=1e-5)


def test_compiled_networks_give_the_same_loss_and_gradients() -> None:
    model = make(config=SMALL.override({"pooling": (2,), "up": (1, 1), "down": (1, 1)}))
    batch = batch_of(model)
    model.loss(batch)["loss"].backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    torch._dynamo.reset()
    compiled = torch.compile(model.loss, backend="aot_eager", fullgraph=True)
    loss = compiled(batch)["loss"]
    loss.backward()
    torch.testing.assert_close(loss, model.loss(batch)["loss"])
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-5)


def test_a_training_step_reads_no_tensor_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading one would stall a GPU. The check for a loss that is not finite is `LocalStep`'s own."""
    model = make(ImageSpec(channels=1, height=4, width=4, levels=2))
    step = LocalStep(model)
    step.run(Batch(some(model.images, 4)))
    batch = batch_of(model, 4)

    def refuse(*_: object) -> None:
        pytest.fail("a tensor was read")

    for name in ("item", "__bool__", "__float__", "__int__", "tolist", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, refuse)

    class Silent(LocalStep):
        def minimize(self, loss, batch, group="model"):
            out = loss(batch)
            out["loss"].backward()
            return out

    silent = Silent(model)
    silent.index = 1
    model.train_step(batch, silent)


def test_the_papers_network_has_39_million_parameters() -> None:
    from zoo_bench.training.recipe import plan

    config = plan("vdvae.cifar10").config
    with torch.device("meta"):
        model = VDVAE(ImageSpec(channels=3, height=32, width=32), config)  # type: ignore[arg-type]
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6) == 39
    assert [m.size for m in model.decoder.blocks()[:3]] == [(1, 1), (4, 4), (4, 4)]
