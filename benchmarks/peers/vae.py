"""IWAE-100 of two VAEs on binary 28 x 28 images: streamed as the zoo does it, and by the plain loop of public code.

    python benchmarks/peers/vae.py [NAME ...] [--threads 2] [--images 64] [--rounds 3]

The plain loop takes one image after the other, encodes a hundred copies of it, decodes a hundred codes and adds up
densities by torch.distributions. The sizes are those of public VAEs: 830,000 parameters of MLPs; 17 million parameters
of convolutions, 0.28 GFLOP to decode a code. Both loops have the same networks and weights, and alternate; the ratio is
that of the images/s. Beside it: the largest difference of the bounds by the same noise, and images per second of
processor time.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal
from zoo_autoencoder.vae.model import VAE

import zoo_core
from zoo_core import ImageSpec

IMAGES = ImageSpec(channels=1, height=28, width=28, levels=2)
SAMPLES = 100
SIZES: dict[str, dict[str, object]] = {
    "mlp": {"hidden": (512,), "latent": 16, "activation": "relu"},
    "conv": {"network": "conv", "widths": (128, 256, 512), "hidden": (840,), "latent": 16, "activation": "relu"},
}
REQUIRED = {"mlp": 200.0, "conv": 3.5}  # images/s on two cores of the machine that this was set for


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SIZES)}; default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=64, help="in a round of the streamed bound")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(SIZES)):
        parser.error(f"unknown: {', '.join(unknown)}; expected some of {', '.join(SIZES)}")
    torch.set_num_threads(options.threads)
    for name in options.names or SIZES:
        print(measured(name, options.images, options.rounds), flush=True)


@torch.no_grad()
def measured(name: str, n: int, rounds: int) -> str:
    torch.manual_seed(0)
    model = zoo_core.create("vae", IMAGES, **SIZES[name])
    assert isinstance(model, VAE)
    count = sum(parameter.numel() for parameter in model.eval().parameters())
    x = torch.randint(2, (n, *IMAGES.shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    few = x[: max(1, n // 8)]
    encoded: list[int] = []
    hook = model.encoder.register_forward_hook(lambda _, inputs, output: encoded.append(len(output)))
    value = model.iwae(x, SAMPLES, generator=torch.Generator().manual_seed(0))  # warm
    hook.remove()
    assert sum(encoded) == n, "the encoder runs once per image"
    one = few[:1]
    eps = torch.randn(SAMPLES, 1, model.latent, generator=torch.Generator().manual_seed(0))
    streamed = model.iwae(one, SAMPLES, generator=torch.Generator().manual_seed(0))
    difference = float((plain_loop(model, one, lambda: eps[:, 0]) - streamed).abs().max())
    ours, theirs = [], []
    processor = time.process_time()
    for _ in range(rounds):
        ours.append(n / seconds(lambda: model.iwae(x, SAMPLES)))
    processor = (time.process_time() - processor) / (rounds * n)
    for _ in range(rounds):
        theirs.append(len(few) / seconds(lambda: plain_loop(model, few, lambda: torch.randn(SAMPLES, model.latent))))
    rate, slow = statistics.median(ours), statistics.median(theirs)
    return (
        f"{name:>5}: {count:,} parameters; {rate:,.1f} images/s (required: {REQUIRED[name]:g}; "
        f"{1 / processor:,.1f} per second of one core), the plain loop {slow:,.1f}: ratio {rate / slow:.2f}; "
        f"bounds differ by {difference:.1e} nats of {-float(value.mean()):.0f}"
    )


def plain_loop(model: VAE, x: Tensor, noise: Callable[[], Tensor]) -> Tensor:
    """log 1/n sum_i p(x, z_i) / q(z_i|x), one image after the other. nats, `(N,)`."""
    bounds = []
    for image in x:
        copies = image.expand(SAMPLES, *image.shape).float()
        mean, log_var = model.encoder(copies).chunk(2, dim=1)
        q = Normal(mean, (0.5 * log_var).exp())
        z = mean + (0.5 * log_var).exp() * noise()
        log_x = Bernoulli(logits=model.decoder(z)).log_prob(copies.flatten(1)).sum(1)
        log_w = log_x + Normal(0.0, 1.0).log_prob(z).sum(1) - q.log_prob(z).sum(1)
        bounds.append(log_w.double().logsumexp(0) - math.log(SAMPLES))
    return torch.stack(bounds)


def seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
