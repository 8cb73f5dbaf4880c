"""bf16 autocast, channels_last and torch.compile change the time that a VAE takes, not what it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from zoo_autoencoder.iwae.config import IWAEConfig
from zoo_autoencoder.iwae.model import IWAE
from zoo_autoencoder.vae.config import VAEConfig
from zoo_autoencoder.vae.model import VAE

from zoo_core import Batch, ImageSpec

BINARY = ImageSpec(channels=1, height=10, width=9, levels=2)
GREY = ImageSpec(channels=1, height=10, width=9, levels=256)
NETWORKS = {"mlp": {"hidden": (32,)}, "conv": {"network": "conv", "widths": (8, 16), "hidden": ()}}


def make(images: ImageSpec, network: str, **changes: object) -> VAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VAE(images, VAEConfig(latent=4, **NETWORKS[network], **changes)).eval()


def some(images: ImageSpec) -> Tensor:
    return torch.randint(images.levels, (6, *images.shape), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def gradient(model: VAE | IWAE, x: Tensor) -> tuple[Tensor, Tensor]:
    eps = torch.randn(6, model.config.samples, 4, generator=torch.Generator().manual_seed(2))
    loss = model.loss(Batch(x).with_(eps=eps))["loss"]
    return loss.detach(), torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("images", [BINARY, GREY], ids=["binary", "grey"])
def test_half_precision_is_of_the_networks_alone(images: ImageSpec, network: str) -> None:
    """Likelihoods and divergences are sums in float32: their error is that of the networks' outputs."""
    model, x = make(images, network), some(images)
    loss, exact = gradient(model, x)
    with torch.autocast("cpu", torch.bfloat16):
        half, rough = gradient(model, x)
        bound = model.iwae(x, 32, generator=torch.Generator().manual_seed(0))
        assert model.sample(3).dtype == torch.uint8
    assert half.dtype == rough.dtype == torch.float32
    torch.testing.assert_close(half, loss, rtol=5e-3, atol=0)
    assert torch.nn.functional.cosine_similarity(rough, exact, dim=0) > 0.99
    expected = model.iwae(x, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(bound, expected, rtol=5e-3, atol=0)
    assert bound.unique().numel() == 6, "not rounded to the few values that sums of half precision have"


@pytest.mark.parametrize("images", [BINARY, GREY], ids=["binary", "grey"])
def test_channels_last_is_the_same_network(images: ImageSpec) -> None:
    model, x = make(images, "conv"), some(images)
    before = gradient(model, x)
    after = gradient(model.to(memory_format=torch.channels_last), x)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("images", [BINARY, GREY], ids=["binary", "grey"])
def test_a_compiled_loss_is_the_loss(images: ImageSpec, network: str) -> None:
    """In one graph: nothing of the loss is left to Python."""
    model, x = make(images, network), some(images)
    before = gradient(model, x)
    model.loss = torch.compile(model.loss, backend="aot_eager", fullgraph=True)  # type: ignore[method-assign]
    torch.testing.assert_close(gradient(model, x), before, rtol=1e-4, atol=1e-4)


def test_the_gradient_reparameterised_twice_survives_compiled_networks() -> None:
    torch.manual_seed(0)
    model = IWAE(BINARY, IWAEConfig(hidden=(16,), latent=4, samples=3, gradient="doubly_reparameterized"))
    before = gradient(model, some(BINARY))
    for name in ("encoder", "decoder"):
        getattr(model, name).compile(backend="aot_eager")
    torch.testing.assert_close(gradient(model, some(BINARY)), before, rtol=1e-4, atol=1e-4)
