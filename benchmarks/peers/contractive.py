"""Training steps of a contractive autoencoder, by how the Jacobian's norm is computed.

    python benchmarks/peers/contractive.py [--threads 1] [--latent 60] [--rounds 5]

In closed form (one layer only); by automatic differentiation as `cae` does it, all latents in one batched backward
pass;
and by the loop of public code, a backward pass for each latent. Same network, weights and images; a step is a loss and
its gradient. The ways alternate; ratios are of the medians. The gradients' largest difference is printed beside them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from zoo_autoencoder.cae.config import CAEConfig
from zoo_autoencoder.cae.model import CAE, jacobian_norm

from zoo_core import Batch, ImageSpec

IMAGES = ImageSpec(channels=1, height=28, width=28)
BATCH = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--latent", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    x = torch.randint(256, (BATCH, *IMAGES.shape), dtype=torch.uint8)
    one_layer = CAE(IMAGES, CAEConfig(latent=options.latent))
    deep = CAE(IMAGES, CAEConfig(latent=options.latent, hidden=(200,)))
    ways = {"closed form": one_layer.one_layer, "batched": batched(one_layer), "loop": looped(one_layer)}
    print(compared("one layer", one_layer, x, ways, options.rounds), flush=True)
    print(compared("two layers", deep, x, {"batched": batched(deep), "loop": looped(deep)}, options.rounds), flush=True)


Way = Callable[[Tensor], tuple[Tensor, Tensor]]


def batched(model: CAE) -> Way:
    return lambda v: jacobian_norm(model.codes, v)


def looped(model: CAE) -> Way:
    """A backward pass for each latent."""

    def norm(v: Tensor) -> tuple[Tensor, Tensor]:
        v = v.detach().requires_grad_()
        h = model.codes(v)
        rows = (torch.autograd.grad(h[:, j].sum(), v, create_graph=True)[0] for j in range(h.shape[1]))
        return h, torch.stack([row.square().sum((1, 2, 3)) for row in rows]).sum(0)

    return norm


def compared(name: str, model: CAE, x: Tensor, ways: dict[str, Way], rounds: int) -> str:
    """Milliseconds of a step by each way, with the ratio to the last one's."""
    took: dict[str, list[float]] = {way: [] for way in ways}
    gradients = {way: step(model, x, norm) for way, norm in ways.items()}  # warm
    for _ in range(rounds):
        for way, norm in ways.items():
            began = time.perf_counter()
            for _ in range(5):
                step(model, x, norm)
            took[way].append((time.perf_counter() - began) / 5)
    median = {way: statistics.median(values) for way, values in took.items()}
    *_, slowest = ways
    difference = max(float((gradients[way] - gradients[slowest]).abs().max()) for way in ways)
    figures = ", ".join(f"{way} {1e3 * t:.1f} ms ({median[slowest] / t:.1f}x)" for way, t in median.items())
    return f"{name}, {model.latent} latents, {BATCH} images: {figures}; gradients differ by {difference:.1e}"


def step(model: CAE, x: Tensor, norm: Way) -> Tensor:
    """The gradient of the loss, all parameters in one vector."""
    v = model.unit(Batch(x).x)
    h, size = norm(v)
    loss = model.reconstruction(v, model.output(h))["loss"] + 0.1 / IMAGES.dims * size.mean()
    return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, list(model.parameters()))])


if __name__ == "__main__":
    main()
