"""Scores from choices: known strengths come back, two alternatives have a closed form, and no certainty is invented."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from zoo_bench.judging.choices import Choice, bradley_terry, has_maximum, plackett_luce, scores, wins

from zoo_core import ZooError


def simulate(strengths: np.ndarray, n: int, k: int, seed: int = 0, judges: int = 3) -> list[Choice]:
    """Answers of Plackett and Luce: the order of strength plus Gumbel noise (Yellott 1977)."""
    generator = np.random.default_rng(seed)
    found = []
    for i in range(n):
        group = generator.permutation(len(strengths))[:k]
        order = group[np.argsort(-(strengths[group] + generator.gumbel(size=k)))]
        found.append(Choice(f"judge {i % judges}", tuple(order.tolist())))
    return found


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("judges", [3, 40])
def test_known_strengths_are_found_within_their_intervals(k: int, judges: int) -> None:
    strengths = np.array([1.2, 0.3, -0.4, -1.1])
    inside = []
    for seed in range(5):
        found = scores(simulate(strengths, 400, k, seed, judges), "abcd", replicates=200)
        assert found.unit == ("judges" if judges == 40 else "answers")
        assert np.abs(found.values - strengths).max() < 0.5
        assert (found.low < found.values).all() and (found.values < found.high).all()
        inside += list((found.low <= strengths) & (strengths <= found.high))
    assert np.mean(inside) >= 0.75  # of 20 at 95 %, P(fewer than 15) < 1e-3 were they independent


def test_more_answers_make_narrower_intervals() -> None:
    strengths = np.array([0.5, 0.0, -0.5])
    few, many = (scores(simulate(strengths, n, 2), "abc", replicates=300) for n in (50, 5000))
    assert ((many.high - many.low) < (few.high - few.low) / 5).all()


@pytest.mark.parametrize("won, lost", [(7, 3), (1, 1), (1, 400)])
def test_two_alternatives_have_a_closed_form(won: int, lost: int) -> None:
    answers = [Choice("j", (0, 1))] * won + [Choice("j", (1, 0))] * lost
    found = scores(answers, "ab", replicates=50)
    assert found.values[0] - found.values[1] == pytest.approx(math.log(won / lost), abs=1e-8)
    assert found.values.sum() == pytest.approx(0, abs=1e-12)


def test_a_tie_is_half_a_win_each_way() -> None:
    ties = [Choice("j", (0, 1), tie=True)] * 4
    even = scores([*ties, *[Choice("j", (0, 1))] * 3, Choice("j", (1, 0))], "ab", replicates=50)
    assert even.values[0] - even.values[1] == pytest.approx(math.log(5 / 3), abs=1e-8)


def test_plackett_luce_on_pairs_is_bradley_terry() -> None:
    answers = simulate(np.array([1.0, 0.2, -0.3, -0.9]), 150, 2)
    orders = sorted({answer.order for answer in answers})
    weights = np.array([sum(answer.order == order for answer in answers) for order in orders], dtype=np.float64)
    luce = plackett_luce(np.array(orders), weights, 4)
    np.testing.assert_allclose(luce, bradley_terry(wins(orders, weights, 4)), atol=1e-7)


def test_the_fit_is_the_maximum_of_the_likelihood() -> None:
    answers = simulate(np.array([0.8, 0.1, -0.9, 0.0]), 60, 3)
    found = scores(answers, "abcd", replicates=50).values

    def log_likelihood(s: np.ndarray) -> float:
        return sum(
            s[i] - np.log(np.exp(s[list(answer.order[place:])]).sum())
            for answer in answers
            for place, i in enumerate(answer.order)
        )

    best = log_likelihood(found)
    assert log_likelihood(found + 3.7) == pytest.approx(best)  # a constant changes nothing
    for i, step in itertools.product(range(4), (-0.01, 0.01)):
        assert log_likelihood(found + step * np.eye(4)[i]) < best


def test_a_constant_on_all_strengths_changes_nothing() -> None:
    strengths = np.array([0.5, 0.25, -0.75])
    one, other = (scores(simulate(strengths + shift, 80, 2), "abc", replicates=50) for shift in (0.0, 8.0))
    assert (one.values == other.values).all() and (one.low == other.low).all()


def test_names_may_be_permuted() -> None:
    answers = simulate(np.array([0.5, 0.25, -0.75]), 100, 3)
    turned = [Choice(answer.judge, tuple(2 - i for i in answer.order)) for answer in answers]
    one, other = (scores(each, "abc", replicates=50).values for each in (answers, turned))
    np.testing.assert_allclose(one, other[::-1], atol=1e-8)


def test_alternatives_that_never_met_have_no_common_scale() -> None:
    answers = [Choice("j", (0, 1)), Choice("j", (1, 0)), Choice("j", (2, 3)), Choice("j", (3, 2))]
    with pytest.raises(ZooError, match=r"never met: ant, bee \| cat, dog"):
        scores(answers, ["ant", "bee", "cat", "dog"])
    with pytest.raises(ZooError, match=r"never met: ant, bee \| cat"):
        scores(answers[:2], ["ant", "bee", "cat"])
    with pytest.raises(ZooError, match="no answers yet"):
        scores([], ["ant", "bee"])


def test_the_undefeated_are_regularised_and_uncertain() -> None:
    found = scores([Choice("j", (0, 1))] * 20, "ab", replicates=300)
    assert found.regularised
    assert found.values[0] - found.values[1] == pytest.approx(math.log(20.5 / 0.5), abs=1e-8)
    assert found.low[0] < found.values[0] - 0.2  # twenty of twenty is no certainty
    ranked = scores([Choice("j", (0, 1, 2))] * 20, "abc", replicates=100)
    assert ranked.regularised and ranked.values[0] > ranked.values[1] > ranked.values[2]
    assert np.isfinite([ranked.values, ranked.low, ranked.high]).all()


def test_fords_condition() -> None:
    cycle = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert has_maximum(cycle) and not has_maximum(np.triu(np.ones((3, 3)), 1))


def test_the_same_seed_gives_the_same_intervals() -> None:
    answers = simulate(np.array([0.5, -0.5]), 30, 2)
    one, two, other = (scores(answers, "ab", seed=seed, replicates=100) for seed in (1, 1, 2))
    assert (one.low == two.low).all() and not (one.low == other.low).all()
