"""What sample quality says of rows that were made to be seen through, and of what is not there."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from made_cards import card as made_card
from zoo_bench import Metric, bench, evaluate
from zoo_bench.baselines.constructed import Diluted
from zoo_bench.cards import files
from zoo_bench.datasets import load as data
from zoo_bench.evaluation.model import Wanted, conditions, evaluate_model
from zoo_bench.metrics import cost, quality, restoration
from zoo_bench.metrics.measure import compute, measure
from zoo_bench.metrics.measured import Measured
from zoo_bench.metrics.specs import name_of
from zoo_bench.tasks import suites

import zoo_core
from zoo_core import ImageSpec, ZooError, registry
from zoo_core.likelihood import score

FEATURES = ("fd", "mind", "kid", "prdc", "clipped", "is", "classes")
DIGITS = (*(f"{kind}_digitscnn" for kind in FEATURES), "memorisation_pixels")


def task(**changes) -> suites.Task:
    return dataclasses.replace(suites.load("small").tasks[0], **changes)


def measured(x: torch.Tensor | None, metrics=DIGITS, **more) -> Measured:
    scored = data.load("digits", "test")
    references = [data.load("digits", split) for split in ("train", "test")]
    return Measured(
        task(metrics=tuple(metrics)), "t@1/digits", scored, scored.pinned, samples=x, references=references, **more
    )


def values(entries: Iterable[Metric]) -> dict[tuple[str, str | None], float]:
    return {(entry.id, entry.params.reference): entry.value for entry in entries}


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits of suite `small`: the baselines, the constructed rows."""
    folder = tmp_path_factory.mktemp("small")
    suite = suites.load("small")
    first = dataclasses.replace(suite.tasks[0], samples=500, metrics=("bits_per_dim", *DIGITS, "fd_pixels"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suites, "load", lambda name: dataclasses.replace(suite, tasks=(first,)))
        result = bench("small", models="class_mixture", out=folder, quiet=True)
    assert not result.failed
    return folder


def test_the_copycat_is_near_the_floor_unlikely_and_flagged(benched: Path) -> None:
    found = {card.model.name: card for card in files.read_all([benched / "cards"])}
    by_model = {name: values(card.metrics) for name, card in found.items()}
    floor = by_model["training_images"]["fd_digitscnn", "test"]
    assert by_model["copycat"]["fd_digitscnn", "test"] < 2 * floor
    assert by_model["independent_pixels"]["fd_digitscnn", "test"] > 10 * floor
    assert by_model["copycat"]["bits_per_dim", None] > by_model["uniform"]["bits_per_dim", None]
    flags = {
        name: next(entry.params.flag for entry in card.metrics if entry.id == "nn_ratio_pixels")
        for name, card in found.items()
    }
    assert flags["copycat"]
    assert flags["training_images"]
    assert not flags["independent_pixels"]
    assert not flags["gaussian"]
    assert found["copycat"].model.family == found["diluted"].model.family == "constructed"
    assert (benched / "cards" / "copycat.digits.small-v2-digits.seed0.neighbours.png").is_file()


def test_the_diluted_row_loses_little_likelihood_and_all_quality(benched: Path) -> None:
    found = {card.model.name: card for card in files.read_all([benched / "cards"])}
    diluted = found["diluted"]
    assert diluted.model.weights == found["class_mixture"].model.weights, "the best exact model"
    nats = {name: np.load(benched / "cards" / found[name].nats_file.name) for name in ("diluted", "class_mixture")}
    lost = nats["class_mixture"] - nats["diluted"]
    assert (lost <= -math.log(0.01) + 1e-9).all()
    assert lost.mean() > 4
    quality_of = {name: values(card.metrics)["fd_pixels", "train"] for name, card in found.items()}
    assert quality_of["diluted"] > 0.9 * quality_of["uniform"] > 5 * quality_of["class_mixture"]


def test_dilution_is_a_distribution() -> None:
    images = ImageSpec(channels=1, height=2, width=2, levels=3)
    good = zoo_core.create("class_mixture", images)
    with torch.no_grad():
        good.log_table.copy_(torch.randn(good.log_table.shape, dtype=torch.float64).log_softmax(-1))
    model = Diluted(good, share=0.25)
    x = torch.cartesian_prod(*[torch.arange(3)] * 4).to(torch.uint8).view(-1, 1, 2, 2)
    assert float(model.log_prob(x).exp().sum()) == pytest.approx(1)
    drawn = model.sample(20_000, generator=torch.Generator().manual_seed(0)).flatten(1).long()
    counts = torch.bincount((drawn * torch.tensor([27, 9, 3, 1])).sum(1), minlength=81)
    expected = 20_000 * model.log_prob(x).exp()
    assert float(((counts - expected) ** 2 / expected).sum()) < 80 + 5 * math.sqrt(160)


def test_every_number_names_its_extractor_and_two_extractors_are_never_compared() -> None:
    x = data.load("digits", "validation").pinned.x
    found = measured(x, ("fd_digitscnn", "fd_pixels"))
    entries = measure(found)
    assert len({entry.comparable_key for entry in entries}) == len(entries) == 4
    assert {entry.params.get("sha256") for entry in entries if entry.id == "fd_digitscnn"} == {
        registry.extractors.get("digitscnn").sha256
    }
    fewer = measure(measured(x[:150], ("fd_digitscnn",)))
    assert {e.comparable_key for e in fewer}.isdisjoint({e.comparable_key for e in entries})


def test_clipped_values_and_mind_say_what_they_are_of() -> None:
    """As many images of either as `prdc` takes, and everything that changes the number in its key."""
    names = ("clipped_digitscnn", "mind_digitscnn", "prdc_digitscnn")
    train = data.load("digits", "train").pinned.x
    many, few = ({(e.id, e.params.reference): e for e in measure(measured(x, names))} for x in (train, train[:99]))
    ids = ("clipped_density_digitscnn", "clipped_coverage_digitscnn", "mind_digitscnn")
    assert set(registry.metrics.get("clipped_digitscnn").params["entries"]) == set(ids[:2])
    for key in ((name, split) for name in ids for split in ("train", "test")):
        params = many[key].params
        assert params.images == many["density_digitscnn", key[1]].params.images
        assert {name: params.get(name) for name in ("k", "directions")} == (
            {"k": None, "directions": 1000} if key[0] == ids[2] else {"k": 5, "directions": None}
        )
        assert many[key].comparable_key != few[key].comparable_key and many[key].version == 1
        assert many[key].higher_is_better == (key[0] != ids[2])
    copies = {name: many[name, "train"] for name in ids}
    assert copies[ids[0]].value == copies[ids[1]].value == 1 and copies[ids[0]].interval is None
    assert copies[ids[2]].value < 1e-9 < copies[ids[2]].interval.high
    honest = many[ids[2], "test"].interval
    assert honest.n == 1297 and "jackknife" in honest.method
    assert honest.low < many[ids[2], "test"].value < honest.high


def test_missing_weights_skip_one_metric_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    x = data.load("digits", "validation").pinned.x
    entries = measure(measured(x, ("fid", "fd_pixels")))
    (fid,) = [entry for entry in entries if entry.id == "fid"]
    assert fid.value is None
    assert fid.status == "skipped"
    assert registry.extractors.get("inception").sha256 in fid.params.reason
    assert sum(entry.id == "fd_pixels" for entry in entries) == 2


def test_a_cost_is_counted_for_one_image() -> None:
    """A linear layer of a x b costs 2ab to pass, and about three times as much to train."""
    model = zoo_core.load("vae.digits")
    batch = data.load("digits").pinned[:8]
    found = cost.flops(model, batch, {})
    decoder = 2 * sum(layer.weight.numel() for layer in model.decoder.modules() if hasattr(layer, "in_features"))
    assert found["flops_per_generated_image"] == decoder
    every = 2 * sum(layer.weight.numel() for layer in model.modules() if hasattr(layer, "in_features"))
    assert 2 * every <= found["flops_per_training_image"] <= 3 * every
    assert cost.flops(zoo_core.load("gmm.digits"), batch, {})["flops_per_training_image"] is None


def test_metrics_leave_random_numbers_alone() -> None:
    x = data.load("digits", "validation").pinned.x
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002 (the global state is what this is about)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    measure(measured(x))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002


def test_the_labels_that_were_asked_for_are_found_in_the_samples() -> None:
    """Real images as the samples of their own labels: as accurate as the classifier; of other labels: not at all."""
    validation = data.load("digits", "validation").pinned
    right = values(compute("classes_digitscnn", measured(validation.x, labels=validation.labels)))
    wrong = values(compute("classes_digitscnn", measured(validation.x, labels=(validation.labels + 1) % 10)))
    assert right["class_accuracy_digitscnn", None] > 0.95
    assert wrong["class_accuracy_digitscnn", None] < 0.05
    assert values(compute("classes_digitscnn", measured(validation.x)))["class_tv_digitscnn", "test"] < 0.2


def test_conditional_models_are_asked_for_the_training_set_s_labels() -> None:
    model = zoo_core.load("ddpm.digits_cond")
    labels = conditions(model, task(), 1000, seed=0)["labels"]
    assert torch.equal(labels, conditions(model, task(), 1000, seed=0)["labels"])
    train = data.load("digits", "train").pinned.labels
    tv = (torch.bincount(labels) / 1000 - torch.bincount(train) / len(train)).abs().sum() / 2
    assert tv < 0.1
    assert conditions(zoo_core.load("made.digits"), task(), 10, seed=0) == {}


def test_a_pinned_subset_is_scored() -> None:
    scored = data.load("digits", "test").pinned
    part = task(subset=50).choose(scored)
    assert len(part) == 50
    assert torch.equal(part.x, task(subset=50).choose(scored).x)
    rows = [int((scored.x == image).flatten(1).all(1).nonzero()[0]) for image in part.x]
    assert rows == sorted(rows)
    assert rows[-1] > 200, "not simply the first"
    assert torch.equal(part.labels, scored.labels[rows])
    assert len(task(subset=1000).choose(scored)) == 300


class Oracle(zoo_core.GenerativeModel):
    """Completes with the truth, or with its opposite."""

    def __init__(self, truth: torch.Tensor, opposite: bool) -> None:
        super().__init__(data.load("digits", "test").images, zoo_core.Config())
        self.truth, self.opposite = truth, opposite

    def complete(self, x, mask, *, generator=None):
        guess = 16 - self.truth[: len(x)] if self.opposite else self.truth[: len(x)]
        return torch.where(mask, x, guess)

    def sample(self, n, *, labels=None, text=None, generator=None):
        return self.truth[:n]

    def train_step(self, batch, step):
        return {}


@pytest.mark.parametrize("name", ["restore_half", "restore_double", "restore_noise"])
def test_restoration_compares_with_the_truth(name: str) -> None:
    x = data.load("digits", "test").pinned.x[:100]
    suite = suites.load("restore")
    chosen = dataclasses.replace(suite.tasks[0], metrics=(name,))
    by_kind, known = {}, {"tag": "digits", "family": "test"}
    for opposite in (False, True):
        card = evaluate_model(Oracle(x, opposite), "oracle", Wanted(suite, chosen, limit=100), known)
        by_kind[opposite] = {entry.id: entry.value for entry in card.metrics}
    best = 10 * math.log10(64 * 16**2)  # one subpixel of 64 off by one level of 16 would be the least error
    assert by_kind[False] == {f"{name}_mse": 0.0, f"{name}_psnr": pytest.approx(best)}, "no window on 8 x 8"
    unknown = {"restore_half": 0.5, "restore_double": 0.75, "restore_noise": 0.5}[name]
    every = float((2 * x.double() / 16 - 1).square().mean())
    assert by_kind[True][f"{name}_mse"] == pytest.approx(unknown * every, rel=0.35)


class Told(Oracle):
    """Reconstructs only an image whose label it is told."""

    conditioning = "class"

    def reconstruct(self, x, *, labels):
        scored = data.load("digits", "test").pinned
        truth = {image.numpy().tobytes(): int(label) for image, label in zip(scored.x, scored.labels)}
        told = torch.tensor([truth[image.numpy().tobytes()] for image in x]) == labels
        return torch.where(told.view(-1, 1, 1, 1), x, 16 - x)


def test_a_conditional_model_reconstructs_under_the_labels() -> None:
    entries = restoration.reconstruct(measured(None, model=Told(torch.zeros(0), False), conditioning="class"))
    assert {entry.id: entry.value for entry in entries}["reconstruct_mse"] == 0.0


def test_restoration_is_not_asked_of_models_that_cannot() -> None:
    suite = suites.load("restore")
    model = zoo_core.create("uniform", data.load("digits", "test").images)
    card = evaluate_model(model, "uniform", Wanted(suite, suite.tasks[0], limit=10), {"tag": "digits"})
    assert card.metrics == ()


def test_several_splits_make_one_reference() -> None:
    both = data.load("digits", "train+validation")
    assert len(both) == 1497
    assert torch.equal(both.pinned.x[1297:], data.load("digits", "validation").pinned.x)
    with pytest.raises(ZooError, match="no split 'vaildation'"):
        data.load("digits", "train+vaildation")


def test_inception_s_metrics_have_the_literature_s_names() -> None:
    assert name_of("fd", "inception") == "fid"
    assert name_of("fd", "dinov2") == "fd_dinov2"
    assert name_of("mind", "inception") == "mind"
    assert {"fid", "mind", "kid", "is", "fid_inf", "cmmd", "clip_score"} <= {
        spec.name for spec in registry.metrics.all()
    }
    assert quality.NEIGHBOURS == 5


def test_a_uniform_model_scores_log2_k() -> None:
    for levels in (2, 17, 256):
        images = ImageSpec(channels=1, height=3, width=3, levels=levels)
        x = torch.randint(levels, (20, 1, 3, 3), dtype=torch.uint8)
        assert score(zoo_core.create("uniform", images), x).bits_per_dim == pytest.approx(math.log2(levels))


def test_the_order_of_samples_does_not_matter() -> None:
    """Files sorted by class are common; 600 samples of which the test split's 300 images leave half to choose."""
    train = data.load("digits", "train").pinned
    rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:600]
    x, labels = train.x[rows], train.labels[rows]
    one, other = (
        {(entry.id, entry.params.reference): entry.value for entry in measure(measured(images))}
        for images in (x, x[labels.argsort()])
    )
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert other[key] == pytest.approx(value, rel=1e-6, abs=1e-9) or key[0].startswith("is_"), key  # of splits


def test_a_flag_is_no_score(tmp_path: Path) -> None:
    from zoo_bench.reports import cells, columns

    entry = next(entry for entry in measure(measured(data.load("digits", "train").pinned.x[:300])) if entry.is_flag)
    assert entry.id == "nn_ratio_pixels" and entry.params.flag and not entry.higher_is_better
    column = columns.column([(entry, made_card("theirs", entry))])
    assert "↑" not in column.title and column.better is None
    assert cells.number(entry, column.digits).endswith(" flagged")


def test_the_copycat_stands_in_every_table_of_samples() -> None:
    for name in suites.list_suites():
        suite = suites.load(name)
        assert "copycat" in suite.baselines or not any(each.samples and each.references for each in suite.tasks), name


def test_broken_weights_cost_the_panel_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments, **options):
        raise zoo_core.WeightsError("not the sha256 that was pinned")

    found = measured(data.load("digits", "train").pinned.x[:20])
    monkeypatch.setattr(Measured, "features", broken)
    assert quality.neighbour_panel(found) is None


def test_a_metric_that_cannot_be_computed_costs_the_others_nothing() -> None:
    result = evaluate("made.digits", "small", limit=10)
    found = {entry.id: entry for entry in result.metrics}
    assert found["fd_inf_digitscnn"].status == "failed"
    assert "at least 20 images" in found["fd_inf_digitscnn"].params.reason
    assert found["fd_digitscnn"].value > 0
