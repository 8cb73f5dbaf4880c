"""`realnvp` and `glow` against normflows: training steps, and samples.

    python benchmarks/peers/flows_image.py [--threads N] [--batch N]

The peer is installed into a temporary folder, never into the environment. Both train the same
couplings and matrices with networks of the same layers, on 3 x 32 x 32 images; for `glow` they are
normflows' own GlowBlock. The numbers of their parameters are printed first: they differ by the scales
of activation normalisation and of couplings. Prints ratios of medians.
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
import torch.nn.functional as F
from torch import Tensor, nn
from zoo_flow.glow.config import GlowConfig
from zoo_flow.glow.model import Glow
from zoo_flow.multiscale import MultiScaleFlow
from zoo_flow.realnvp.config import RealNVPConfig
from zoo_flow.realnvp.model import RealNVP

from zoo_core import Batch, ImageSpec, LocalStep
from zoo_core.images import dequantise

PEER = ("normflows",)  # torch and numpy are here
IMAGES = ImageSpec(channels=3, height=32, width=32)
ROUNDS = 9


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments.add_argument("--batch", type=int, default=32)
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, *PEER]
        subprocess.run(command, check=True)
        sys.path.insert(0, folder)
        config = RealNVPConfig()
        against("realnvp (2 squeezes, width 32)", RealNVP(IMAGES, config), their_realnvp(config), asked.batch)
        steps = GlowConfig(scales=2, depth=8, width=64, prior="normal")
        against("glow (L = 2, K = 8, width 64)", Glow(IMAGES, steps), their_glow(steps), asked.batch)


def their_glow(config: GlowConfig) -> nn.Module:
    import normflows

    flows, shapes, channels, side = [], [], IMAGES.channels, IMAGES.height
    for scale in range(config.scales):
        channels, side = 4 * channels, side // 2
        blocks = [normflows.flows.GlowBlock(channels, config.width, scale_map="exp") for _ in range(config.depth)]
        flows.insert(0, [*blocks, normflows.flows.Squeeze()])
        channels = channels if scale == config.scales - 1 else channels // 2
        shapes.insert(0, (channels, side, side))
    return theirs(flows, shapes)


def their_realnvp(config: RealNVPConfig) -> nn.Module:
    """Our masks as halves of squeezed channels; normflows has flows from z to x, so the first of a list is the last."""
    import normflows

    def coupling(channels: int, split: str) -> list[nn.Module]:
        network = Plain(channels, 2 * channels, config.width, config.blocks)
        block = normflows.flows.AffineCouplingBlock(network, scale_map="exp", split_mode=split)
        return [block, normflows.flows.ActNorm((2 * channels, 1, 1))]

    def alternating(channels: int, count: int) -> list[nn.Module]:
        pairs = [coupling(2 * channels, ("channel", "channel_inv")[i % 2]) for i in range(count)]
        return [*(flow for pair in pairs for flow in pair), normflows.flows.Permute(4 * channels)]

    flows, shapes, channels, side = [], [], IMAGES.channels, IMAGES.height
    for _ in range(config.scales):
        by_checkerboards, by_rows = (alternating(channels, config.couplings) for _ in range(2))
        flows.insert(0, [*by_rows, *by_checkerboards, normflows.flows.Squeeze()])
        channels, side = 2 * channels, side // 2
        shapes.insert(0, (channels, side, side))
    flows.insert(0, [*alternating(channels, config.couplings + 1), normflows.flows.Squeeze()])
    shapes.insert(0, (4 * channels, side // 2, side // 2))
    return theirs(flows, shapes, normflows.transforms.Logit(config.alpha))


class Plain(nn.Module):
    """The layers of our ResNet as one would write them down."""

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.into = nn.Conv2d(inputs, width, 3, padding=1)
        pairs = [[nn.Conv2d(width, width, 3, padding=1) for _ in range(2)] for _ in range(blocks)]
        self.blocks = nn.ModuleList(nn.Sequential(nn.ReLU(), one, nn.ReLU(), two) for one, two in pairs)
        self.out = nn.Conv2d(width, outputs, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x)
        for block in self.blocks:
            x = x + block(x)
        return self.out(F.relu(x))


def theirs(
    flows: list[list[nn.Module]], shapes: list[tuple[int, ...]], transform: nn.Module | None = None
) -> nn.Module:
    import normflows

    bases = [normflows.distributions.DiagGaussian(shape, trainable=False) for shape in shapes]
    merges = [normflows.flows.Merge() for _ in shapes[1:]]
    return normflows.MultiscaleFlow(bases, flows, merges, transform=transform, class_cond=False)


def against(what: str, ours: MultiScaleFlow, other: nn.Module, batch: int) -> None:
    counts = [sum(p.numel() for p in model.parameters() if p.requires_grad) for model in (ours, other)]
    print(f"{what}: {counts[0]:,} parameters, normflows {counts[1]:,}", flush=True)
    x = torch.randint(IMAGES.levels, (batch, *IMAGES.shape), dtype=torch.uint8)
    ours.start(Batch(x), LocalStep(ours))
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True) for model in (ours, other)]

    def real() -> Tensor:
        return dequantise(x, IMAGES)[0] - (0.5 if isinstance(ours, Glow) else 0.0)

    def one() -> None:
        descend(ours.loss(Batch(x).with_(u=torch.rand(x.shape))), optimizers[0])

    def two() -> None:
        descend(other.forward_kld(real()), optimizers[1])

    compare("  a training step", one, two)
    ours.eval(), other.eval()
    with torch.no_grad():
        compare("  samples", lambda: ours.sample(batch), lambda: other.sample(batch))


def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def compare(what: str, one: Callable[[], Any], other: Callable[[], Any]) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for run, seconds in zip((one, other), times):
            run()
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
    ratios = sorted(b / a for a, b in zip(*times))
    middle, ratio = statistics.median(times[0]), statistics.median(times[1]) / statistics.median(times[0])
    print(f"{what}: {middle * 1e3:.0f} ms, {ratio:.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True)


if __name__ == "__main__":
    main()
