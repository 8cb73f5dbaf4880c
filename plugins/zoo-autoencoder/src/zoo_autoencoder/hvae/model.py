"""The Markovian hierarchical VAE: a chain of latents, each drawn from its neighbour alone, upwards and downwards.

Rezende, Mohamed, Wierstra, "Stochastic Backpropagation and Approximate Inference in Deep Generative Models", 2014,
https://arxiv.org/abs/1401.4082, section 3 (deep latent Gaussian models); Burda, Grosse, Salakhutdinov, "Importance
Weighted Autoencoders", 2015, https://arxiv.org/abs/1509.00519, section 2 and the two stochastic layers of section 5;
C. Luo, "Understanding Diffusion Models: A Unified Perspective", 2022, https://arxiv.org/abs/2208.11970, section on
hierarchical VAEs, whose indices these are:

    p(x, z_1:T) = p(z_T) p(x | z_1) prod_{t=2..T} p(z_{t-1} | z_t),   p(z_T) = N(0, I)
    q(z_1:T | x) = q(z_1 | x) prod_{t=2..T} q(z_t | z_{t-1})
    ELBO(x) = E_q[ log p(x | z_1) + sum_{t<T} (log p(z_t | z_{t+1}) + H[q(z_t | z_{t-1})])
                   - KL(q(z_T | z_{T-1}) || p(z_T)) ],   z_0 = x

Entropies and the top layer's divergence are in closed form. log p(z_t | z_{t+1}) is taken at the draw: its argument
z_{t+1} is a nonlinear function of z_t, so its expectation has none. With T = 1 this is `vae`.

The bridge to diffusion. DDPM (Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", 2020,
https://arxiv.org/abs/2006.11239, equations 1, 2 and 5) is this model with all z_t of the image's own dimension and a
posterior that is not learned: q(z_t | z_{t-1}) = N(sqrt(1 - beta_t) z_{t-1}, beta_t I), so that q(z_T | x) is nearly
N(0, I) and the top layer's divergence nearly 0. Being linear and Gaussian it has what is missing here: z_t given x in
one step, and q(z_{t-1} | z_t, x) by Bayes' rule, which turns every layer's term into a divergence of Gaussians,
KL(q(z_{t-1} | z_t, x) || p(z_{t-1} | z_t)), and lets a training step look at one random t instead of at all. What is
left to learn is p(z_{t-1} | z_t), by one network for all t.
"""

from __future__ import annotations

from torch import Tensor, nn

from zoo_autoencoder import networks
from zoo_autoencoder.hierarchy import Draws, Gaussian, Hierarchy, Layer, across, gaussian
from zoo_autoencoder.hvae.config import HVAEConfig
from zoo_core.images import to_unit
from zoo_core.specs import ImageSpec


class HVAE(Hierarchy):
    """encoder, decoder: between x and z_1. up[t], down[t]: between z_{t+1} and z_{t+2}, counted from 0."""

    config: HVAEConfig

    def __init__(self, images: ImageSpec, config: HVAEConfig) -> None:
        super().__init__(images, config)
        lower, upper = config.latents[:-1], config.latents[1:]
        self.encoder = networks.encoder(images, config, 2 * config.latents[0])
        self.decoder = networks.decoder(images, config, config.latents[0], self.observation.per_place)
        self.up = nn.ModuleList(
            networks.mlp((below, *config.between, 2 * above), config) for below, above in zip(lower, upper)
        )
        self.down = nn.ModuleList(
            networks.mlp((above, *reversed(config.between), 2 * below), config) for below, above in zip(lower, upper)
        )
        self.layers = tuple(reversed(config.latents))
        self.numbers = max(networks.widest(images, config, self.observation.per_place), self.latent, *config.between)

    def see(self, x: Tensor) -> Gaussian:
        """q(z_1|x): mean and log variance, both `(N, z_1)`."""
        return gaussian(self.encoder(to_unit(x, self.images).to(self.dtype)))

    def infer(self, seen: Gaussian, eps: Tensor) -> Draws:
        mean, log_var = (part.unsqueeze(1) for part in seen)  # (N, 1, z_1)
        drawn = []
        for t, noise in enumerate(reversed(eps.split(self.layers, -1))):  # from z_1 up
            if t:
                mean, log_var = gaussian(self.up[t - 1](drawn[-1][0]))
            drawn.append((mean + (0.5 * log_var).exp() * noise, noise, mean, log_var))
        prior_of_top = (eps.new_zeros(()), eps.new_zeros(()))
        priors = [*(gaussian(net(above[0])) for net, above in zip(self.down, drawn[1:])), prior_of_top]
        layers = [Layer(*posterior, *prior) for posterior, prior in zip(drawn, priors)]
        z = layers[0].z
        params = self.decoder(z.flatten(0, 1)).unflatten(0, z.shape[:2])  # (N S, outputs) -> (N, S, outputs)
        return Draws(layers[::-1], params)

    def divergences(self, draws: Draws) -> Tensor:
        """The top layer's in closed form; below it, the entropy of q in closed form and log p at the draw."""
        top, *lower = draws.layers
        return across([top.divergence(), *(layer.cross_entropy_gap() for layer in lower)], -1)

    def generate(self, u: Tensor) -> Tensor:
        z, *rest = u.split(self.layers, -1)
        for net, part in zip(reversed(self.down), rest):
            mean, log_var = gaussian(net(z))
            z = mean + (0.5 * log_var).exp() * part
        return self.decoder(z)  # type: ignore[no-any-return]

    def start_at(self, bias: Tensor) -> None:
        networks.start_at(self.decoder, bias)
