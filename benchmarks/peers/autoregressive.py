"""The autoregressive models at the sizes of today's public code: 16 images of 28 x 28 binary pixels, batches of 64.

    python benchmarks/peers/autoregressive.py [NAME ...] [--threads 2] [--seconds 10]

For each model: seconds to sample 16 images incrementally; what a full pass for each pixel would take, 784 times the
median of some passes, and the ratio; memory of the sampler's caches; training images/s. Seconds mean something on this
machine only, the ratio on any.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable

import torch
from zoo_autoregressive.autoregressive import Autoregressive

import zoo_core
from zoo_core import Batch, ImageSpec, LocalStep

IMAGES = ImageSpec(channels=1, height=28, width=28, levels=2)
N, BATCH = 16, 64
SIZES: dict[str, tuple[str, dict[str, object]]] = {
    "fvsbn": ("fvsbn", {}),
    "nade": ("nade", {"hidden": 500}),
    "made": ("made", {"hidden": (500,), "direct": False}),
    "made_direct": ("made", {"hidden": (500,)}),
    "made_8000": ("made", {"hidden": (8000,), "direct": False}),
    "pixelrnn_row": ("pixelrnn_row", {"width": 16, "layers": 2}),
    "pixelrnn_diag": ("pixelrnn_diag", {"width": 16, "layers": 2}),
    "pixelcnn": ("pixelcnn", {"width": 16, "blocks": 15}),
    "gated_pixelcnn": ("gated_pixelcnn", {"width": 32, "layers": 4}),
    "pixelcnnpp": ("pixelcnnpp", {"width": 16, "blocks": 1}),
    "pixelsnail": ("pixelsnail", {"width": 32, "blocks": 2}),
    "image_gpt": ("image_gpt", {"width": 32, "blocks": 4}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SIZES)}; default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10, help="of training, for each model")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(SIZES)):
        parser.error(f"unknown: {', '.join(unknown)}; expected some of {', '.join(SIZES)}")
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads; {N} images of {IMAGES}; training batches of {BATCH}")
    print(f"{'':14} {'parameters':>10} {'sampling':>9} {'full passes':>11} {'ratio':>6} {'caches':>8} {'training':>12}")
    for name in options.names or SIZES:
        print(measured(name, options.seconds), flush=True)


def measured(name: str, seconds: float) -> str:
    model_name, config = SIZES[name]
    torch.manual_seed(0)
    model = zoo_core.create(model_name, IMAGES, **config)
    assert isinstance(model, Autoregressive)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.dim() > 1):  # heads start at 0
            parameter += 0.02 * torch.randn_like(parameter)
    count = sum(parameter.numel() for parameter in model.parameters())
    model.eval()
    sampling = timed(lambda: model.sample(N, generator=torch.Generator().manual_seed(0)), 5)
    with torch.no_grad():
        s = torch.zeros(N, IMAGES.dims, dtype=torch.uint8)
        full = timed(lambda: model.logits(s), 5) * IMAGES.dims
    memory = caches(model) / 1e6
    rate = training(model, seconds)
    return (
        f"{name:14} {count:10,} {sampling:7.3f} s {full:9.1f} s {full / sampling:6.0f} {memory:5.1f} MB "
        f"{rate:6,.0f} images/s"
    )


def timed(function: Callable[[], object], runs: int) -> float:
    """Median seconds, after a run to warm up."""
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


@torch.no_grad()
def caches(model: Autoregressive) -> int:
    """Bytes of the tensors that the sampler of N images holds when its first pixel is due."""
    before = storages()
    sampler = model.pixel_by_pixel(N)
    next(sampler)
    return sum(size for place, size in storages().items() if place not in before)


def storages() -> dict[int, int]:
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}


def training(model: Autoregressive, seconds: float) -> float:
    """Images/s of whole steps: forward, backward, AdamW."""
    step, x = LocalStep(model), torch.randint(2, (BATCH, *IMAGES.shape), dtype=torch.uint8)
    for _ in range(3):
        step.run(Batch(x))
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step.run(Batch(x))
        steps += 1
    return steps * BATCH / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
