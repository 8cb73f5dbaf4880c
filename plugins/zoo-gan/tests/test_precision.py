"""bf16 autocast, channels_last and torch.compile change the time that a training takes, not what it is."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from zoo_gan.adversarial import Adversarial
from zoo_gan.configs import DCGANConfig, GANConfig, LSGANConfig, WGANGPConfig
from zoo_gan.dcgan.model import DCGAN
from zoo_gan.gan.model import GAN
from zoo_gan.lsgan.model import LSGAN
from zoo_gan.wgan_gp.model import WGANGP

from zoo_core import Batch, ImageSpec, LocalStep

IMAGES = ImageSpec(channels=3, height=9, width=8)
EVERY = ("brightness", "saturation", "contrast", "translation", "cutout")
MODELS = {
    "gan": lambda: GAN(IMAGES, GANConfig(hidden=(24, 32), latent=6)),
    "dcgan": lambda: DCGAN(IMAGES, DCGANConfig(width=8, latent=6, augment=EVERY)),
    "lsgan": lambda: LSGAN(IMAGES, LSGANConfig(width=8, latent=6, norm="none")),
    "wgan_gp": lambda: WGANGP(IMAGES, WGANGPConfig(width=8, latent=6)),
}


def make(name: str) -> Adversarial:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MODELS[name]().train()


def some(n: int = 12) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.randint(256, (n, *IMAGES.shape), generator=generator, dtype=torch.uint8))


def gradients(model: Adversarial) -> list[tuple[Tensor, Tensor]]:
    """Loss and gradient of both players."""
    batch, found = model.with_noise(some(), LocalStep(model)), []
    for loss, player in ((model.discriminator_loss, model.discriminator), (model.generator_loss, model.generator)):
        value = loss(batch)["loss"]
        gradient = torch.autograd.grad(value, list(player.parameters()))
        found.append((value.detach(), torch.cat([g.flatten() for g in gradient])))
    return found


@pytest.mark.parametrize("name", MODELS)
def test_half_precision_is_of_the_networks_alone(name: str) -> None:
    model = make(name)
    exact = gradients(model)
    with torch.autocast("cpu", torch.bfloat16):
        rough = gradients(model)
        assert model.eval().sample(3).dtype == torch.uint8
    for (value, slope), (half, near) in zip(exact, rough):
        assert half.dtype == near.dtype == torch.float32
        torch.testing.assert_close(half, value, rtol=0.03, atol=0.01)
        assert torch.nn.functional.cosine_similarity(near, slope, dim=0) > 0.96


@pytest.mark.parametrize("name", ["dcgan", "lsgan", "wgan_gp"])
def test_channels_last_is_the_same_network(name: str) -> None:
    model = make(name)
    before = gradients(model)
    torch.testing.assert_close(gradients(model.to(memory_format=torch.channels_last)), before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["gan", *(pytest.param(n, marks=pytest.mark.slow) for n in ("dcgan", "wgan_gp"))])
def test_compiled_networks_train_and_finish_as_others_do(name: str) -> None:
    """Also the statistics at the end, which look into the generator while it runs."""
    model = make(name)
    if name == "wgan_gp":  # its critic is differentiated twice, which a compiled network does not do
        parts: tuple[str, ...] = ("generator",)
    else:
        parts = ("generator", "discriminator")
    twin = copy.deepcopy(model)
    for part in parts:
        getattr(twin, part).compile(backend="aot_eager")
    for one in (model, twin):
        step = LocalStep(one, lr=1e-3)
        for _ in range(2):
            step.run(some())
        step.finish()
    for (key, one), two in zip(model.state_dict().items(), twin.state_dict().values()):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-4, msg=key)
