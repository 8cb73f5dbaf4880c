"""What models with codes do with them."""

from __future__ import annotations

import pytest
import torch
from zoo_autoencoder.vae.config import VAEConfig
from zoo_autoencoder.vae.model import VAE

from zoo_core import ImageSpec, ZooError

IMAGES = ImageSpec(channels=1, height=3, width=3, levels=5)


def model() -> VAE:
    torch.manual_seed(0)
    return VAE(IMAGES, VAEConfig(hidden=(16,), latent=3)).eval()


def some(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(IMAGES.levels, (n, *IMAGES.shape), generator=generator, dtype=torch.uint8)


def test_an_attribute_is_mean_code_with_minus_mean_code_without() -> None:
    vae, a, b = model(), some(5), some(7, 1)
    direction = vae.attribute(a, b)
    torch.testing.assert_close(direction, vae.encode(a).mean(0) - vae.encode(b).mean(0))
    torch.testing.assert_close(vae.attribute(b, a), -direction)


def test_a_traversal_changes_one_latent_and_no_other() -> None:
    vae, x = model(), some(1)
    rows = vae.traverse(x, [0, 2], [-3.0, 0.0, 3.0]).view(2, 3, *IMAGES.shape)
    for row, latent in zip(rows, (0, 2)):
        code = vae.encode(x).repeat(3, 1)
        code[:, latent] = torch.tensor([-3.0, 0.0, 3.0])
        assert torch.equal(row, vae.decode(code))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (torch.zeros(2, 4), r"VAE.decode: expected codes \(N, 3\), real numbers, got \(2, 4\)"),
        (torch.zeros(3), r"got \(3,\)"),
        (torch.zeros(2, 3, dtype=torch.long), r"got \(2, 3\) of torch.int64"),
        ([0.0, 0.0, 0.0], "got list"),
        (torch.zeros(0, 3), "expected at least one code, got none"),
    ],
)
def test_codes_of_another_shape_or_kind_are_refused(codes: object, message: str) -> None:
    with pytest.raises(ZooError, match=message):
        model().decode(codes)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_codes_of_another_precision_are_decoded_in_the_models(dtype: torch.dtype) -> None:
    vae, x = model(), some(4)
    codes = vae.encode(x).to(dtype)
    assert torch.equal(vae.decode(codes), vae.decode(codes.to(torch.float32)))
    assert torch.equal(vae.double().decode(codes.float()), vae.decode(codes.float().double()))


@pytest.mark.parametrize(
    ("a", "b", "n", "message"),
    [
        (some(1), torch.zeros(1, 1, 3, 4, dtype=torch.uint8), 3, r"expected images of shape \(N, 1, 3, 3\), got"),
        (None, some(1), 3, "got NoneType"),
        (some(1), some(1).float(), 3, "expected uint8 pixels"),
        (some(2), some(1), 3, "expected one image, got 2"),
        (some(1), some(0), 3, "expected one image, got 0"),
        (some(1), some(1), 2.5, "expected n >= 2, both ends included, a whole number, got 2.5"),
    ],
)
def test_ends_that_are_no_image_and_steps_that_are_no_number_are_refused(
    a: object, b: object, n: object, message: str
) -> None:
    with pytest.raises(ZooError, match=rf"VAE\.interpolate: .*{message}"):
        model().interpolate(a, b, n)  # type: ignore[arg-type]


def test_latents_that_are_not_there_are_refused() -> None:
    with pytest.raises(ZooError, match="expected latents, whole numbers of 0 to 2, got 3"):
        model().traverse(some(1), [3], [0.0])
    with pytest.raises(ZooError, match="expected one image, got 2"):
        model().traverse(some(2), [0], [0.0])
    with pytest.raises(ZooError, match=r"expected latents, whole numbers of 0 to 2, got 1\.5"):
        model().traverse(some(1), [1.5], [0.0])  # type: ignore[list-item]
    for latents, values, given in (([0], [], "1 and 0"), ([], [0.0], "0 and 1")):
        with pytest.raises(ZooError, match=rf"VAE\.traverse: expected latents and values, .* got {given}"):
            model().traverse(some(1), latents, values)
