"""Quantisers of `vqvae` against vector-quantize-pytorch: forward, backward, and the codebook's update.

    python benchmarks/peers/quantisers.py [--threads N]

The peer is installed into a temporary folder, never into the environment. Both quantise the same
vectors with the same codebook; the script stops where their codes differ. Prints ratios of medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from zoo_autoencoder.vqvae.config import VQVAECodesConfig
from zoo_autoencoder.vqvae.quantisers import FiniteScalarQuantiser, VectorQuantiser

PEER = ("vector-quantize-pytorch", "torch-einops-utils", "einx", "einops", "frozendict", "loguru")  # torch is here
ROUNDS = 15


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(arguments.parse_args().threads)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, *PEER]
        subprocess.run(command, check=True)
        sys.path.insert(0, folder)
        for images, side, codes, dimension in ((64, 7, 256, 16), (128, 8, 256, 64)):
            codebook(images, side, codes, dimension)
        scalars(64, 7, (8, 6, 5))


def codebook(images: int, side: int, codes: int, dimension: int) -> None:
    """Moving averages with gamma = 0.99; without restarts."""
    from vector_quantize_pytorch import VectorQuantize

    h = torch.randn(images, dimension, side, side, generator=torch.Generator().manual_seed(0))
    ours = VectorQuantiser(VQVAECodesConfig(codes=codes, dimension=dimension, commitment=0.25))
    options = {"decay": 0.99, "commitment_weight": 0.25, "accept_image_fmap": True, "threshold_ema_dead_code": 0}
    theirs = VectorQuantize(dim=dimension, codebook_size=codes, **options)
    theirs._codebook.embed.copy_(ours.codebook)
    theirs._codebook.embed_avg.copy_(ours.codebook)
    same(ours.codes(h), theirs.eval()(h)[1])
    theirs.train()

    def one() -> Tensor:
        z, taken, committed = ours(x := h.clone().requires_grad_())
        (z.sum() + committed.mean()).backward()
        ours.update(ours.statistics(x.detach(), taken))
        return z

    def other() -> Tensor:
        z, _, committed = theirs(h.clone().requires_grad_())
        (z.sum() + committed.sum()).backward()
        return z

    compare(f"codebook of {codes}, {images} x {side} x {side} vectors of {dimension}", one, other)


def scalars(images: int, side: int, levels: tuple[int, ...]) -> None:
    """No check of codes: for even numbers of levels the peer's, the paper's, lie otherwise."""
    from vector_quantize_pytorch import FSQ

    h = torch.randn(images, len(levels), side, side, generator=torch.Generator().manual_seed(0))
    ours, theirs = FiniteScalarQuantiser(VQVAECodesConfig(quantiser="fsq", levels=levels)), FSQ(list(levels))
    compare(
        f"scalars of {levels}",
        lambda: ours(h.clone().requires_grad_())[0].sum().backward(),
        lambda: theirs(h.clone().requires_grad_())[0].sum().backward(),
    )


def same(one: Tensor, two: Tensor) -> None:
    share = float((one == two).double().mean())
    if share < 0.999:  # a tie may fall either way
        raise SystemExit(f"the same vectors and codebook give other codes: {share:.1%} agree")


def compare(what: str, one: Callable[[], Any], other: Callable[[], Any]) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for run, seconds in zip((one, other), times):
            run()
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
    ratios = sorted(b / a for a, b in zip(*times))
    middle, ratio = statistics.median(times[0]), statistics.median(ratios)
    print(f"{what}: {middle * 1e3:.2f} ms, {ratio:.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
