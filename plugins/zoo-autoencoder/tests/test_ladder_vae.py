"""The ladder's merge and its way up."""

from __future__ import annotations

import torch
from torch.distributions import Normal
from zoo_autoencoder.ladder_vae.config import LadderVAEConfig
from zoo_autoencoder.ladder_vae.model import LadderVAE, merged

from zoo_core import ImageSpec

IMAGES = ImageSpec(channels=3, height=3, width=2, levels=5)


def gaussians(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.randn(2, 200, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).unbind())


def test_the_merge_is_the_product_of_two_densities_normalised() -> None:
    (mean, log_var), (prior_mean, prior_log_var) = gaussians(0), gaussians(1)
    found = Normal(*(lambda m, v: (m, (0.5 * v).exp()))(*merged(mean, log_var, prior_mean, prior_log_var)))
    z = torch.linspace(-30, 30, 60_001, dtype=torch.float64)[:, None]
    product = Normal(mean, (0.5 * log_var).exp()).log_prob(z) + Normal(
        prior_mean, (0.5 * prior_log_var).exp()
    ).log_prob(z)
    literal = product - (product + torch.log(z[1] - z[0])).logsumexp(0)
    near = found.log_prob(z) > -30
    torch.testing.assert_close(found.log_prob(z)[near], literal[near], rtol=1e-8, atol=1e-8)


def test_the_merge_is_equations_17_and_18() -> None:
    (mean, log_var), (prior_mean, prior_log_var) = gaussians(2), gaussians(3)
    precision, prior_precision = 1 / log_var.exp(), 1 / prior_log_var.exp()
    variance = 1 / (precision + prior_precision)
    expected = (mean * precision + prior_mean * prior_precision) * variance
    torch.testing.assert_close(merged(mean, log_var, prior_mean, prior_log_var), (expected, variance.log()))


def test_a_certain_side_wins_without_infinities() -> None:
    one, far = torch.ones(1), torch.tensor([300.0])
    for low, high, winner in ((-far, far, 2.0), (far, -far, 3.0)):
        mean, log_var = merged(2 * one, low, 3 * one, high)
        assert mean.item() == winner and log_var.item() == -300
        assert torch.isfinite(mean).all()


@torch.no_grad()
def test_the_posterior_is_a_literal_walk_down() -> None:
    torch.manual_seed(0)
    model = LadderVAE(IMAGES, LadderVAEConfig(latents=(4, 3, 2), widths=(9, 8, 7))).double().eval()
    x = torch.randint(5, (6, *IMAGES.shape), dtype=torch.uint8)
    eps = torch.randn(6, 1, 9, dtype=torch.float64)
    d, up = (x / 4).double().flatten(1), []
    for net, head in zip(model.up, model.head):
        d = net(d)
        up.append(head(d).chunk(2, -1))
    top, middle, bottom = model.infer(model.see(x), eps).layers
    torch.testing.assert_close(top.mean[:, 0], up[2][0])
    z = up[2][0] + up[2][1].exp().sqrt() * eps[:, 0, :2]
    torch.testing.assert_close(top.z[:, 0], z)
    for layer, (mean, log_var), net, noise in zip(
        (middle, bottom), up[1::-1], reversed(model.down), eps[:, 0].split((2, 3, 4), -1)[1:]
    ):
        prior_mean, prior_log_var = net(z).chunk(2, -1)
        variance = 1 / (1 / log_var.exp() + 1 / prior_log_var.exp())
        posterior = (mean / log_var.exp() + prior_mean / prior_log_var.exp()) * variance
        z = posterior + variance.sqrt() * noise
        torch.testing.assert_close(layer.z[:, 0], z)
        torch.testing.assert_close(layer.prior_mean[:, 0], prior_mean)
    torch.testing.assert_close(model.generate(model.infer(model.see(x), eps).code()[:, 0]), model.decoder(z))
