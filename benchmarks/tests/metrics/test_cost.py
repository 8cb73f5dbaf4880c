"""Costs are of the model they stand beside: a median after warming up, and the memory of that evaluation alone."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from zoo_bench import evaluate
from zoo_bench.metrics.cost import Flops, Memory, Stopwatch, network_evaluations

from zoo_core.chunks import in_turn
from zoo_core.pretrained import load


def test_a_rate_is_the_median_over_chunks_after_the_first() -> None:
    """Six chunks: a slow first one, a slow outlier and a short last one say nothing about the rate."""
    seconds, sizes = [0.2, 0.02, 0.02, 0.2, 0.02, 0.001], [100] * 5 + [3]

    def compute(c: int) -> torch.Tensor:
        time.sleep(seconds[c])
        return torch.zeros(sizes[c])

    watch = Stopwatch(in_turn)
    assert [len(part) for part in watch(6, compute)] == sizes
    speed = watch.speed("sampling")
    assert speed["sampling_chunks"] == 4
    assert 3500 < speed["sampling_images_per_second"] < 5000
    low, high = speed["sampling_quartiles"]
    assert low < speed["sampling_images_per_second"] <= high <= 5000


def test_one_chunk_has_a_rate_and_no_quartiles() -> None:
    watch = Stopwatch(in_turn, processes=2)
    watch(1, lambda c: torch.zeros(7))
    assert set(watch.speed("sampling")) == {"sampling_images_per_second", "sampling_chunks"}
    assert Stopwatch(in_turn).speed("sampling") == {}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system cannot forget a peak of memory")
def test_the_peak_of_memory_is_not_that_of_what_ran_before() -> None:
    def resident() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096 / 2**20

    before = resident()
    big = np.ones(2**28 // 8)  # 256 MB
    assert Memory(torch.device("cpu")).peak()["peak_memory_mb"] > before + 200
    del big
    assert Memory(torch.device("cpu")).peak()["peak_memory_mb"] < before + 100
    memory = Memory(torch.device("cpu"))
    for _ in range(2):
        np.ones(2**28 // 8)
    assert memory.peak()["peak_memory_mb"] > before + 200


def test_a_card_tells_speeds_with_their_quartiles() -> None:
    performance = evaluate("made.digits").performance
    low, high = performance.sampling_quartiles
    assert low <= performance.sampling_images_per_second <= high
    assert performance.sampling_chunks == 9
    assert performance.likelihood_chunks == 2
    assert performance.flops_per_generated_image > 0


def test_a_diffusion_of_t_steps_evaluates_its_network_t_times() -> None:
    models = {name: load(f"{name}.digits") for name in ("ddpm", "dcgan", "vae", "gmm", "image_gpt")}
    evaluations = {name: network_evaluations(model, {}) for name, model in models.items()}
    assert evaluations == {"ddpm": models["ddpm"].config.steps, "dcgan": 1, "vae": 1, "gmm": None, "image_gpt": None}
    state = torch.random.get_rng_state()
    network_evaluations(models["vae"], {})
    assert torch.equal(state, torch.random.get_rng_state())
    assert not any(module._forward_pre_hooks for module in models["vae"].modules())


def test_operations_of_a_sampler_that_follows_a_gradient_are_counted() -> None:
    """Two layers of 64 x 32 and 32 x 1 multiply-adds; a step is forwards through both and back to the image."""

    class Downhill(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.energy = nn.Sequential(nn.Linear(64, 32), nn.SiLU(), nn.Linear(32, 1))

        def forward(self, v: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad():
                v = v.detach().requires_grad_()
                return torch.autograd.grad(self.energy(v).sum(), v)[0]

    model = Downhill()
    with Flops() as counted:
        model(torch.zeros(1, 64))
    forwards = 2 * (64 * 32 + 32)
    assert counted.get_total_flops() >= 2 * forwards
    with FlopCounterMode(display=False) as theirs, torch.no_grad():
        model.energy(torch.zeros(5, 64))
    with Flops() as ours, torch.no_grad():
        model.energy(torch.zeros(5, 64))
    assert ours.get_total_flops() == theirs.get_total_flops() == 5 * forwards
