"""What a GPU changes and must not change. `make test-gpu` runs these; without CUDA each is skipped and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import zoo_core
from zoo_core.likelihood import score

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA, and this machine has none"),
]

NAMES = zoo_core.list_models(pretrained=True)
LEARNED = [name for name in zoo_core.list_models() if zoo_core.spec(name).family not in ("baseline", "constructed")]


@pytest.mark.parametrize("name", LEARNED)
def test_the_laws_hold_on_the_gpu(name: str) -> None:
    from zoo_core import testing

    broken = [result for result in testing.check(zoo_core.spec(name), device="cuda") if result.status == "broken"]
    assert not broken


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".digits")])
def test_likelihoods_agree_with_the_cpu(name: str) -> None:
    """Exact values to rounding; bounds within their own noise, which is drawn by another generator."""
    from zoo_bench.datasets import load as data

    x = data.load("digits", "test").pinned.x[:100]
    here, there = score(zoo_core.load(name), x), score(zoo_core.load(name, device="cuda"), x)
    if here.nats is None:
        assert there.nats is None  # a GAN has no likelihood on any device
        return
    assert here.relation == there.relation
    tolerance = 1e-4 if here.relation == "=" else here.half_width
    assert there.bits_per_dim == pytest.approx(here.bits_per_dim, abs=tolerance)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".digits")])
def test_samples_are_reproducible_on_the_gpu(name: str) -> None:
    model = zoo_core.load(name, device="cuda")
    first, second = (model.sample(32, generator=torch.Generator("cuda").manual_seed(0)) for _ in range(2))
    assert first.device.type == "cuda"
    assert first.dtype == torch.uint8
    assert torch.equal(first, second)


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
@pytest.mark.parametrize("model", ["made", "vae", "ddpm"])
def test_training_learns_in_each_precision(model: str, precision: str, tmp_path: Path) -> None:
    from zoo_bench import train
    from zoo_bench.training.trainer import read_log

    run = train(model, "digits", out=tmp_path / "run", quiet=True, images=20_000, precision=precision)
    losses = [line["loss"] for line in read_log(run.folder)]
    start = {"ddpm": 1.0}.get(model, 181.3)  # what predicts nothing: unit variance, and a uniform model's nats
    assert losses[-1] < 0.8 * start


def test_a_full_memory_makes_smaller_micro_batches(tmp_path: Path) -> None:
    """The device is told to have little memory; float32 weights then agree with those of an undisturbed run."""
    from zoo_bench import train

    whole = train("ddpm.digits", out=tmp_path / "whole", quiet=True, images=600, batch=300, grids=0)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_allocated() + 2**27) / total))
    try:
        small = train("ddpm.digits", out=tmp_path / "small", quiet=True, images=600, batch=300, grids=0)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    one, two = (zoo_core.load(str(run.weights)).state_dict() for run in (whole, small))
    assert all(torch.allclose(one[name].double(), two[name].double(), atol=1e-3) for name in one)


@pytest.mark.parametrize("model", LEARNED)
def test_a_resumed_training_goes_on_where_it_stopped(model: str, tmp_path: Path) -> None:
    from zoo_bench.training.recipe import plan
    from zoo_bench.training.trainer import Interrupted, Options, Trainer

    planned = plan(model, "digits", images=4_000)
    whole = Trainer(planned, Options(out=tmp_path / "whole", quiet=True))
    whole.run()
    part = Trainer(planned, Options(out=tmp_path / "part", quiet=True))
    run = part.step.run

    def run_then_stop(*arguments, **named):
        part.options.stop.set()
        return run(*arguments, **named)

    part.step.run = run_then_stop
    with pytest.raises(Interrupted):
        part.run()
    resumed = Trainer(planned, Options(out=tmp_path / "part", quiet=True, resume=True))
    resumed.run()
    for name, value in whole.model.state_dict().items():
        assert torch.allclose(value.double(), resumed.model.state_dict()[name].double(), atol=1e-5), name
