"""The toys' truth is a distribution, their splits are drawn from it, and models are compared with it exactly."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from zoo_bench import bench
from zoo_bench.cards import files
from zoo_bench.datasets import load as data
from zoo_bench.metrics import enumeration, heatmaps, known
from zoo_bench.metrics.measure import compute
from zoo_bench.metrics.measured import Measured
from zoo_bench.tasks import suites

import zoo_core
from zoo_core import GenerativeModel, registry

TOYS = ["moons", "rings"]


def truth(name: str) -> torch.Tensor:
    return torch.tensor(data.truth(data.find(name)))


class Truth(GenerativeModel):
    """A model that is right."""

    def __init__(self, name: str) -> None:
        found = data.find(name)
        super().__init__(found.images, zoo_core.spec("uniform").config)
        self.register_buffer("table", truth(name))

    def log_prob(self, x, *, labels=None, text=None):
        return self.table[x[:, 0, 0, 0].long(), x[:, 0, 0, 1].long()]

    def sample(self, n, *, labels=None, text=None, generator=None):
        cells = torch.multinomial(self.table.exp().flatten(), n, replacement=True, generator=generator)
        return torch.stack([cells // 256, cells % 256], 1).to(torch.uint8).view(n, 1, 1, 2)

    def train_step(self, batch, step):
        return {}


class Density(Truth):
    """The truth as a density that is constant on each cell, and half of whose mass lies outside the images."""

    log_prob = None  # no such ability

    def log_density(self, v, *, labels=None, text=None):
        cells = (v * 256).long().flatten(1)
        inside = self.table[cells[:, 0], cells[:, 1]]
        return inside + 2 * math.log(256) + math.log(0.5)


def measured(name: str, model: GenerativeModel | None, samples: torch.Tensor | None = None) -> Measured:
    scored = data.load(name, "test")
    return Measured(suites.load("toy").tasks[0], "toy@1/x", scored, len(scored), samples=samples, model=model)


@pytest.mark.parametrize("name", TOYS)
def test_the_truth_is_a_distribution_and_the_splits_are_drawn_from_it(name: str) -> None:
    p = truth(name).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-12)
    assert bool(truth(name).isfinite().all())
    for split, size in {"train": 60_000, "validation": 5_000, "test": 10_000}.items():
        x = data.load(name, split).pinned.x
        assert x.shape == (size, 1, 1, 2)
        assert data.load(name, split).pinned.labels is None
        expected = known.coarse(p, 16).flatten() * size
        counts = known.histogram(x, data.find(name).images, 16).flatten()
        kept = expected > 5
        chi2 = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
        freedom = int(kept.sum()) - 1
        assert abs(float(chi2) - freedom) < 5 * math.sqrt(2 * freedom)
    log_likelihood = truth(name)[x[:, 0, 0, 0].long(), x[:, 0, 0, 1].long()]  # of the test images: minus the entropy
    entropy = -float((p * truth(name)).sum())
    assert -float(log_likelihood.mean()) == pytest.approx(entropy, abs=5 * float(log_likelihood.std()) / 100)


@pytest.mark.parametrize("name", TOYS)
def test_distances_in_closed_form(name: str) -> None:
    """The truth is no distance from itself; the uniform distribution is ln K^2 - H away."""
    p, images = truth(name), data.find(name).images
    task = suites.load("toy").tasks[0]
    itself = enumeration.enumerate_all(Truth(name), task)
    assert known.kl_divergence(p, itself.log_q) == 0
    assert known.total_variation(p.exp(), itself.log_q.exp()) == pytest.approx(0, abs=1e-12)
    uniform = enumeration.enumerate_all(zoo_core.create("uniform", images), task)
    assert uniform.relation == "="
    entropy = -float((p.exp() * p).sum())
    assert known.kl_divergence(p, uniform.log_q) == pytest.approx(2 * math.log(256) - entropy, rel=1e-12)
    expected = 0.5 * float((p.exp() - 256.0**-2).abs().sum())
    assert known.total_variation(p.exp(), uniform.log_q.exp()) == pytest.approx(expected, rel=1e-12)


def test_a_density_is_integrated_over_cells_and_what_lies_outside_counts() -> None:
    found = measured("moons", Density("moons"))
    (kl,), (tv,) = compute("kl", found), compute("tv", found)
    assert kl.relation == tv.relation == "≈"
    assert kl.params.method == "midpoint-4"
    assert kl.value == pytest.approx(math.log(2), abs=1e-5)  # everywhere half of the truth
    assert tv.value == pytest.approx(0.5, abs=1e-5)
    assert tv.params.get("outside") == pytest.approx(0.5, abs=1e-5)


def test_the_midpoint_rule_is_near_the_integral_of_a_gaussian() -> None:
    images = data.find("moons").images
    model = zoo_core.create("gaussian", images)
    model.cholesky *= 20 / 256
    found = enumeration.enumerate_all(model, suites.load("toy").tasks[0])
    edges = torch.linspace(0, 1, 257, dtype=torch.float64)
    each = torch.special.ndtr((edges - 0.5) / (20 / 256)).diff()
    assert torch.allclose(found.log_q.exp(), each[:, None] * each, rtol=1e-3, atol=1e-12)


def test_a_bound_bounds_the_divergence_and_says_nothing_about_tv() -> None:
    class Bound(Truth):
        log_prob = None

        def elbo(self, x, *, labels=None, text=None, draws=1, generator=None):
            return Truth.log_prob(self, x) - 0.25

    found = measured("moons", Bound("moons"))
    (kl,) = compute("kl", found)
    assert kl.relation == "≤"
    assert kl.value == pytest.approx(0.25)
    assert compute("tv", found) == []


def test_samples_of_the_truth_are_as_near_as_noise_lets_them() -> None:
    """The expected distance of N samples from p is about sum sqrt(p (1 - p) / N) / sqrt(2 pi)."""
    x = Truth("rings").sample(20_000, generator=torch.Generator().manual_seed(0))
    (entry,) = compute("tv_samples", measured("rings", None, x))
    p = known.coarse(truth("rings").exp(), known.BINS)
    floor = float((p * (1 - p) / 20_000).sqrt().sum()) / math.sqrt(2 * math.pi)
    assert entry.value == pytest.approx(floor, rel=0.1)
    assert entry.interval.low < entry.value < entry.interval.high
    moved = torch.cat([x[..., :1], x[..., 1:] // 2], -1)
    assert compute("tv_samples", measured("rings", None, moved))[0].value > 5 * entry.value


def test_sets_without_a_truth_have_no_distance_to_it() -> None:
    scored = data.load("digits", "test")
    model = zoo_core.create("uniform", scored.images)
    task = suites.load("quick").tasks[0]
    found = Measured(task, "x", scored, 300, samples=scored.pinned.x, model=model)
    assert [compute(name, found) for name in ("kl", "tv", "tv_samples")] == [[], [], []]


def test_histograms_count_every_image_once() -> None:
    images = zoo_core.ImageSpec(channels=1, height=1, width=2, levels=6)
    x = enumeration.all_images(images)
    assert x.shape == (36, 1, 1, 2)
    assert x[7].flatten().tolist() == [1, 1]  # the last pixel is the fastest
    assert known.histogram(x, images, 3).tolist() == [[4.0] * 3] * 3
    table = torch.arange(36.0).view(6, 6)
    assert known.coarse(table, 2).tolist() == [[table[:3, :3].sum(), table[:3, 3:].sum()],
                                               [table[3:, :3].sum(), table[3:, 3:].sum()]]  # fmt: skip


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The baselines of the toy suite, on one toy."""
    folder = tmp_path_factory.mktemp("toy")
    suite = suites.load("toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suites, "load", lambda name: dataclasses.replace(suite, tasks=suite.tasks[1:]))
        result = bench("toy", models="uniform", out=folder, quiet=True)
    assert not result.failed
    return folder


def test_the_toy_suite_compares_and_draws(benched: Path) -> None:
    found = {card.model.name: card for card in files.read_all([benched / "cards"])}
    by_model = {name: {entry.id: entry for entry in card.metrics} for name, card in found.items()}
    assert set(by_model) == {"uniform", "independent_pixels", "gaussian", "copycat", "diluted", "training_images"}
    assert set(by_model["training_images"]) == {"tv_samples"}  # the floor
    floor = by_model["training_images"]["tv_samples"].value
    near = {name for name, entries in by_model.items() if entries["tv_samples"].value < 1.5 * floor}
    assert near == {"training_images", "copycat"}
    assert by_model["copycat"]["kl"].value > by_model["gaussian"]["kl"].value  # what its samples don't show
    assert by_model["uniform"]["kl"].value > by_model["independent_pixels"]["kl"].value > 0
    assert by_model["gaussian"]["kl"].relation == "≈"
    for metric in ("kl", "tv_samples"):
        assert len({entries[metric].comparable_key for entries in by_model.values() if metric in entries}) == 1
    with Image.open(benched / "cards" / "uniform.rings.toy-v1-rings.seed0.heatmap.png") as picture:
        assert picture.size == (3 * 260, 295)  # truth, model, samples
    with Image.open(benched / "toy-v1-rings.heatmaps.png") as picture:
        assert picture.size == (4 * 260, 2 * 295)  # truth, three baselines, the two constructed rows


def test_the_truth_is_part_of_a_distance_s_identity() -> None:
    keys = [compute("kl", measured(name, Truth(name)))[0].comparable_key for name in TOYS]
    assert keys[0] != keys[1]
    assert known.reference(data.find("moons"))["sha256"][:8] == "8e34da05"
    assert known.reference(data.find("rings"))["sha256"][:8] == "d1b1ee69"


def test_a_heat_map_is_bright_where_the_truth_is(tmp_path: Path) -> None:
    samples = data.load("moons", "test").pinned.x
    found = heatmaps.panels("truth itself", measured("moons", Truth("moons"), samples))
    assert [round(float(panel.table.sum()), 6) for panel in found] == [1, 1, 1]
    heatmaps.write(tmp_path / "m.moons.heatmap.png", found)
    with Image.open(tmp_path / "m.moons.heatmap.png") as picture:
        drawn = np.asarray(picture.convert("L")).astype(float)
    panels = [drawn[40:290, 260 * i + 6 : 260 * i + 254] for i in range(3)]
    assert np.abs(panels[0] - panels[1]).max() == 0
    bright = panels[0] > 150
    assert panels[2][bright].mean() > 3 * panels[2][~bright].mean()
    peak = np.unravel_index(int(truth("moons").argmax()), (256, 256))  # pixel 0 to the right, pixel 1 upwards
    row, column = round((255 - peak[1]) / 256 * 250), round(peak[0] / 256 * 250)
    assert panels[0][row, column] > 200


def test_a_bound_is_no_distribution_so_the_overview_shows_samples(tmp_path: Path) -> None:
    table = np.full((256, 256), 1 / 256**2)
    found = [heatmaps.Panel("truth", table), heatmaps.Panel("m, lower bound", table, is_bound=True)]
    heatmaps.write(tmp_path / "m.moons.heatmap.png", found)
    assert not (tmp_path / "m.moons.heatmap.npz").exists()
    heatmaps.write(tmp_path / "m.moons.heatmap.png", [*found, heatmaps.Panel("m, 9 samples", table)])
    assert str(np.load(tmp_path / "m.moons.heatmap.npz")["title"]) == "m, 9 samples"


def test_only_planes_are_drawn() -> None:
    scored = data.load("digits", "test")
    assert heatmaps.panels("m", Measured(suites.load("quick").tasks[0], "x", scored, 300)) == []


def test_every_metric_has_a_function() -> None:
    found = dataclasses.replace(measured("moons", None), samples=None)
    for spec in registry.metrics.all():
        assert compute(spec.name, found) == []
