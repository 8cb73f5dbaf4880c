"""Model cards: what the Hub reads is what the result cards say, bounds are no values there, and no network is asked."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from made_cards import HOSTILE, card, distance, entry, likelihood
from zoo_bench.cards.types import Card, Metric, Weights
from zoo_bench.reports import modelcards

from zoo_core import ModelSpec, Pretrained, registry


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("the network was asked"))


@pytest.fixture
def weights() -> tuple[ModelSpec, Pretrained]:
    """Any weights for the digits that ship."""
    found = [(spec, one) for spec in registry.models.all() for one in spec.pretrained if one.tag == "digits"]
    return found[0]


def of_weights(weights: tuple[ModelSpec, Pretrained], *metrics: Metric, **fields: Any) -> Card:
    spec, entry = weights
    made = card(spec.name, *metrics, **fields)
    return made.but(model=made.model.but(weights=Weights(source="weights", sha256=entry.sha256, kind="ema")))


def test_the_hub_reads_what_the_result_cards_say(weights: tuple[ModelSpec, Pretrained]) -> None:
    spec, entry_ = weights
    exact, bound = likelihood(2.0, "="), likelihood(1.9, "≤", "class", method="elbo-16")
    own = [
        of_weights(
            weights, exact, distance(0.25, n=1000), distance(None).but(status="skipped", comparable_key="1" * 64)
        ),
        of_weights(weights, bound, likelihood(1.8, "≈"), entry("nn_ratio_x", 0.3, flag=True), task="other@1/digits"),
    ]
    found = ModelCard(modelcards.page(spec, entry_, own))
    assert (found.data.library_name, found.data.license) == ("zoo", "apache-2.0")
    assert {"zoo", spec.family, spec.name} == set(found.data.tags)
    assert found.data.datasets == ["digits"]
    name = f"{spec.name}.digits"
    assert found.data.model_name == name and f"# {name}" in found.text and f'zoo_core.load("{name}")' in found.text
    results = {(one.task_name, one.metric_type): one for one in found.data.eval_results}
    assert set(results) == {  # no skipped metric, no flag, and a bound beside no value
        ("quick@1/digits", "bits_per_dim"),
        ("quick@1/digits", "fd_pixels"),
        ("other@1/digits", "bits_per_dim_upper_bound"),
        ("other@1/digits", "bits_per_dim_estimate"),
    }
    first = results["quick@1/digits", "bits_per_dim"]
    assert (first.metric_value, first.metric_name) == (2.0, "= bits_per_dim")
    assert first.metric_args["comparable_key"] == exact.comparable_key
    assert (first.dataset_type, first.dataset_split, first.dataset_revision) == ("digits", "test", "5" * 64)
    assert results["quick@1/digits", "fd_pixels"].metric_args["n"] == 1000
    assert "skipped: fd_pixels: no reason given" in found.text


def test_an_estimate_brings_its_effective_sample_size(weights: tuple[ModelSpec, Pretrained]) -> None:
    spec, entry_ = weights
    told = {"estimator": "AIS", "chains": 100, "effective_sample_size": 87.25}
    found = ModelCard(modelcards.page(spec, entry_, [of_weights(weights, likelihood(1.8, "≈", **told))]))
    assert found.data.eval_results[0].metric_args["effective_sample_size"] == 87.25
    assert "AIS, effective sample size 87.2 of 100" in found.text


def test_conditional_numbers_have_names_of_their_own(weights: tuple[ModelSpec, Pretrained]) -> None:
    own = [of_weights(weights, likelihood(2.0, "=", "class"), given="class")]
    (result,) = ModelCard(modelcards.page(*weights, own)).data.eval_results
    assert (result.metric_type, result.metric_name) == ("bits_per_dim_given_labels", "= bits_per_dim given labels")


@pytest.mark.parametrize(
    ("given", "task"),
    [("none", "unconditional-image-generation"), ("class", "image-generation"), ("text", "text-to-image")],
)
def test_a_result_s_task_is_that_of_its_card(weights: tuple[ModelSpec, Pretrained], given: str, task: str) -> None:
    own = [of_weights(weights, likelihood(2.0, "=", given), given=given)]
    (result,) = ModelCard(modelcards.page(*weights, own)).data.eval_results
    assert result.task_type == task


def test_what_flatters_a_model_is_no_result_that_the_hub_ranks(weights: tuple[ModelSpec, Pretrained]) -> None:
    made = of_weights(weights, likelihood(2.0, "="), distance(0.2, extractor="pixels"))
    own = [made.but(model=made.model.but(trained_with=("pixels",)))]
    found = ModelCard(modelcards.page(*weights, own))
    assert [one.metric_type for one in found.data.eval_results] == ["bits_per_dim"] and " †" in found.text


def test_what_a_card_says_stays_text(weights: tuple[ModelSpec, Pretrained]) -> None:
    hostile = f"---\n{HOSTILE}: {{% raw %}}"
    own = [of_weights(weights, likelihood(2.0, "=", method=hostile), task=hostile, data="digits")]
    found = ModelCard(modelcards.page(*weights, own))
    (result,) = found.data.eval_results
    assert (result.task_name, result.metric_args["method"]) == (hostile, hostile)
    assert found.data.library_name == "zoo" and "<script" not in found.text and "{{data}}" in found.text
    assert "\n---" not in found.text.replace("\n|---", "")


def test_pages_are_written_once_and_are_the_same_again(weights: tuple[ModelSpec, Pretrained], tmp_path: Path) -> None:
    spec, _ = weights
    own = [of_weights(weights, likelihood(2.0, "="), distance(0.2))]
    assert modelcards.update(tmp_path, own, check=True) == [f"{spec.name}.digits"] and not list(tmp_path.iterdir())
    assert modelcards.update(tmp_path, own) == [f"{spec.name}.digits"]
    text = (tmp_path / f"{spec.name}.digits.md").read_text()
    assert text.startswith("---\n") and str(ModelCard(text)) == text
    assert modelcards.update(tmp_path, own) == []
    assert modelcards.update(tmp_path, [card(spec.name, likelihood(2.0, "="))]) == []  # of other weights
