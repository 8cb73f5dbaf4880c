"""Encoders and decoders for any size of image."""

from __future__ import annotations

import pytest
import torch
from zoo_autoencoder import networks
from zoo_autoencoder.network_config import NetworkConfig
from zoo_autoencoder.vae.config import VAEConfig
from zoo_autoencoder.vae.model import VAE

from zoo_core import ImageSpec, ZooError

CONV = NetworkConfig(network="conv", hidden=(8,), widths=(4, 6))


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (3, 11), (28, 28), (1, 4)])
@pytest.mark.parametrize("hidden", [(), (8,)])
def test_a_decoder_gives_back_the_size_that_its_encoder_took(size: tuple[int, int], hidden: tuple[int, ...]) -> None:
    images = ImageSpec(channels=3, height=size[0], width=size[1])
    config = CONV.override({"hidden": list(hidden)})
    x = torch.rand(2, *images.shape)
    code = networks.encoder(images, config, 5)(x)
    assert code.shape == (2, 5)
    assert networks.decoder(images, config, 5, 7)(code).shape == (2, 7 * images.height * images.width)


@pytest.mark.parametrize(
    ("before", "after"), [((4, 5), (8, 10)), ((4, 5), (7, 10)), ((1, 1), (2, 2)), ((2, 3), (3, 5))]
)
def test_enlarging_by_sums_of_weights_is_enlarging_then_convolving(before: tuple, after: tuple) -> None:
    convolution = torch.nn.Conv2d(3, 5, 3, padding=1).double()
    h = torch.randn(2, 3, *before, dtype=torch.float64, requires_grad=True)
    truth = convolution(torch.nn.functional.interpolate(h, size=after, mode="nearest"))
    value = networks.enlarged(h, convolution, after)
    torch.testing.assert_close(value, truth)
    weights = torch.randn(truth.shape, dtype=torch.float64)
    inputs = (h, *convolution.parameters())
    for one, two in zip(
        torch.autograd.grad((value * weights).sum(), inputs), torch.autograd.grad((truth * weights).sum(), inputs)
    ):
        torch.testing.assert_close(one, two)


def test_the_widest_map_of_a_decoder_is_counted() -> None:
    images = ImageSpec(channels=1, height=7, width=5)
    for config in (CONV, CONV.override({"widths": [4, 60]}), CONV.override({"network": "mlp"})):
        decoder = networks.decoder(images, config, 4, 2)
        sizes: list[int] = []
        for module in decoder.modules():
            if not list(module.children()):
                module.register_forward_hook(lambda _, x, y, sizes=sizes: sizes.extend((x[0].numel(), y.numel())))
        decoder(torch.zeros(1, 4))
        assert max(sizes) == networks.widest(images, config, 2)


def test_every_pixel_reaches_the_code_and_every_latent_every_pixel() -> None:
    images = ImageSpec(channels=1, height=7, width=5)
    x = torch.rand(1, *images.shape, requires_grad=True)
    code = networks.encoder(images, CONV.override({"activation": "silu"}), 5)(x)
    (gradient,) = torch.autograd.grad(code.sum(), x)
    assert (gradient != 0).all()
    decoder = networks.decoder(images, CONV.override({"activation": "silu"}), 5, 1)
    jacobian = torch.autograd.functional.jacobian(lambda z: decoder(z)[0], torch.rand(1, 5))
    assert (jacobian != 0).all()


def test_images_too_small_for_the_strides_are_refused() -> None:
    images = ImageSpec(channels=1, height=2, width=2)
    config = NetworkConfig(network="conv", widths=(4, 4))
    with pytest.raises(ZooError, match=r"2×2 are too small for 2 convolutions of stride 2: give at most 1 width"):
        networks.encoder(images, config, 3)
    with pytest.raises(ZooError, match=r"1×1 are too small for 2 convolutions of stride 2: take network = 'mlp'"):
        networks.encoder(ImageSpec(channels=3, height=1, width=1), config, 3)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_binary_pixels_start_at_their_frequencies(network: str) -> None:
    images = ImageSpec(channels=1, height=4, width=4, levels=2)
    model = VAE(images, VAEConfig(network=network, hidden=(8,), widths=(4,), latent=2))
    model.initialise(torch.full(images.shape, 0.2))
    for parameter in model.decoder.parameters():
        if parameter.dim() > 1:
            parameter.data.zero_()
    torch.testing.assert_close(model.distribution(torch.zeros(1, 2)).mean(), torch.full((1, *images.shape), 0.2))
