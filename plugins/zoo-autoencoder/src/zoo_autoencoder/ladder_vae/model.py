"""The ladder VAE: the posterior runs from the top down like the prior, and merges it with what the image says.

Sønderby, Raiko, Maaløe, Sønderby, Winther, "Ladder Variational Autoencoders", 2016, https://arxiv.org/abs/1602.02282:

    p(x, z) = p(x | z_1) p(z_L) prod_{i<L} p(z_i | z_{i+1})                                          (equations 1 to 3)
    d_i = MLP(d_{i-1}), d_0 = x;  mu^_i, log sigma^_i^2 = Linear(d_i)                  (bottom up, equations 13 to 15)
    q(z | x) = q(z_L | x) prod_{i<L} q(z_i | z_{i+1}, x)                                                (equation 16)
    1 / sigma_q,i^2 = 1 / sigma^_i^2 + 1 / sigma_p,i^2                                                  (equation 17)
    mu_q,i = (mu^_i / sigma^_i^2 + mu_p,i / sigma_p,i^2) sigma_q,i^2                                    (equation 18)
    q(z_i | z_{i+1}, x) = N(mu_q,i, sigma_q,i^2)                                                        (equation 19)

which is the product of the prior and of a Gaussian likelihood of z_i; where these are the model's own, it is the
posterior. q(z_L | x) = N(mu^_L, sigma^_L^2). Given z_{i+1} both are known, so every layer's divergence is in closed
form; the weight of all of them rises from 0 to 1 over the first `warmup` of the training (section 2.4).

Departures: variances come from logarithms instead of from a softplus; no batch normalisation, which would make a
training depend on how its batches are cut.
"""

from __future__ import annotations

from torch import Tensor, nn

from zoo_autoencoder import networks
from zoo_autoencoder.hierarchy import Draws, Gaussian, Hierarchy, Layer, gaussian
from zoo_autoencoder.ladder_vae.config import LadderVAEConfig
from zoo_autoencoder.network_config import NetworkConfig
from zoo_core.images import to_unit
from zoo_core.specs import ImageSpec


class LadderVAE(Hierarchy):
    """up[i], head[i]: d_i and the Gaussian that it holds of z_{i+1}; down[i]: the prior of z_{i+1}; from 0."""

    config: LadderVAEConfig

    def __init__(self, images: ImageSpec, config: LadderVAEConfig) -> None:
        super().__init__(images, config)
        hidden = [(width,) * config.depth for width in config.widths]
        network = NetworkConfig(hidden=hidden[0], activation=config.activation)
        act = networks.ACTIVATIONS[config.activation]
        inputs = (images.dims, *config.widths[:-1])
        self.up = nn.ModuleList(
            nn.Sequential(*networks.mlp((below, *widths), network), act()) for below, widths in zip(inputs, hidden)
        )
        self.head = nn.ModuleList(
            networks.mlp((width, 2 * latent), network) for width, latent in zip(config.widths, config.latents)
        )
        self.down = nn.ModuleList(
            networks.mlp((above, *widths, 2 * latent), network)
            for above, widths, latent in zip(config.latents[1:], hidden[1:], config.latents)
        )
        self.decoder = networks.decoder(images, network, config.latents[0], self.observation.per_place)
        self.layers = tuple(reversed(config.latents))
        self.numbers = max(self.observation.outputs, self.latent, *config.widths)

    def see(self, x: Tensor) -> list[Gaussian]:
        """mu^_i and log sigma^_i^2, `(N, z_i)` each, the top layer first."""
        found, d = [], to_unit(x, self.images).to(self.dtype).flatten(1)
        for up, head in zip(self.up, self.head):
            d = up(d)
            found.append(gaussian(head(d)))
        return found[::-1]

    def infer(self, seen: list[Gaussian], eps: Tensor) -> Draws:
        layers: list[Layer] = []
        for (mean, log_var), noise, down in zip(seen, eps.split(self.layers, -1), (None, *reversed(self.down))):
            prior = (eps.new_zeros(()), eps.new_zeros(()))
            posterior = (mean.unsqueeze(1), log_var.unsqueeze(1))  # (N, 1, z_i)
            if down is not None:
                prior = gaussian(down(layers[-1].z))  # (N, S, z_i)
                posterior = merged(*posterior, *prior)
            z = posterior[0] + (0.5 * posterior[1]).exp() * noise
            layers.append(Layer(z, noise, *posterior, *prior))
        z = layers[-1].z
        return Draws(layers, self.decoder(z.flatten(0, 1)).unflatten(0, z.shape[:2]))

    def generate(self, u: Tensor) -> Tensor:
        z, *rest = u.split(self.layers, -1)
        for down, part in zip(reversed(self.down), rest):
            mean, log_var = gaussian(down(z))
            z = mean + (0.5 * log_var).exp() * part
        return self.decoder(z)  # type: ignore[no-any-return]

    def start_at(self, bias: Tensor) -> None:
        networks.start_at(self.decoder, bias)


def merged(mean: Tensor, log_var: Tensor, prior_mean: Tensor, prior_log_var: Tensor) -> Gaussian:
    """The normalised product of two Gaussians, equations 17 and 18, without a division by a variance."""
    share = (prior_log_var - log_var).sigmoid()  # of the first one's precision in both
    return prior_mean.lerp(mean.expand_as(share), share), -(-log_var).logaddexp(-prior_log_var)
