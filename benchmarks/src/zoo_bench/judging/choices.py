"""Scores of alternatives from people's choices, with intervals: two models of how strengths become choices.

Rank Analysis of Incomplete Block Designs: I. The Method of Paired Comparisons. Ralph A. Bradley and Milton E. Terry.
1952. https://doi.org/10.2307/2334029
    P(i before j) = g_i / (g_i + g_j)
Individual Choice Behavior. R. Duncan Luce. 1959. The Analysis of Permutations. Robin L. Plackett. 1975.
https://doi.org/10.2307/2346567
    P(1, 2, ..., k in this order) = prod_{t < k} g_t / (g_t + ... + g_k)
Both are fitted by minorisation and maximisation, which never lowers the likelihood:
MM Algorithms for Generalized Bradley-Terry Models. David R. Hunter. 2004. https://doi.org/10.1214/aos/1079120141
(equations 3 and 30).

A score is s_i = ln g_i, shifted so that all add up to 0: only differences mean anything, e^(s_i - s_j) are the odds of
i against j. "Can't tell" counts as half an answer each way.

Where some alternatives were never compared with the others, even over others, there is no common scale: an error names
them. Where a group was never beaten by the rest, the likelihood has no maximum (Ford 1957,
https://doi.org/10.2307/2308513): half an answer each way is then added to every pair that met, and the result says
that it was `regularised`: such a score is no more than "at least this far".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo_core.errors import ZooError

Array = np.ndarray[Any, Any]

REPLICATES = 1000
JUDGES = 10  # from so many on, whole judges are drawn again: their answers belong together
PSEUDO = 0.5  # an answer, each way, for every pair that met
LEVEL = 0.95
MOST_STEPS = 100_000


@dataclass(frozen=True)
class Choice:
    """One answer. order: alternatives, best first; tie: the two of a pair could not be told apart."""

    judge: str
    order: tuple[int, ...]
    tie: bool = False

    @property
    def orders(self) -> list[tuple[tuple[int, ...], float]]:
        """The answer as orders with weights."""
        return [(self.order, 0.5), (self.order[::-1], 0.5)] if self.tie else [(self.order, 1.0)]


@dataclass(frozen=True)
class Scores:
    """Of m alternatives: scores and the ends of their percentile intervals, each `(m,)`.

    unit: what was drawn again ("judges" or "answers"). regularised: the likelihood of the answers has no maximum.
    regularised_replicates: so many of the bootstrap's had none.
    """

    values: Array
    low: Array
    high: Array
    unit: str
    replicates: int
    regularised: bool
    regularised_replicates: int


def scores(
    choices: Sequence[Choice],
    names: Sequence[str],
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
    level: float = LEVEL,
) -> Scores:
    """Scores of the alternatives `names` from answers that give their numbers: Bradley-Terry where all answers are
    about pairs, else Plackett-Luce.

    The interval is the bootstrap's (Efron 1979), by percentiles: of answers, or of judges where there are at least
    `JUDGES`. Where the fit is regularised, answers are drawn from the given and the added ones, in their proportions:
    else twenty answers that all agree would have an interval of no width.
    """
    m = len(names)
    if not choices:
        raise ZooError("there are no answers yet; somebody must judge first")
    given = {order for choice in choices for order, _ in choice.orders}
    met = wins(sorted(given), np.ones(len(given)), m) > 0
    met |= met.T
    _check_connected(met, names)
    pairs = {(i, j) for i in range(m) for j in range(m) if met[i, j]}
    orders = sorted(given | pairs)
    column = {order: i for i, order in enumerate(orders)}
    added = np.array([PSEUDO if order in pairs else 0.0 for order in orders])
    table = _padded(orders, m)

    def fit(weights: Array, tolerance: float) -> tuple[Array, Array]:
        """(B, orders) -> scores (B, m), and which were regularised (B,)."""
        lost = ~has_maximum(wins(orders, weights, m))
        weights = weights + lost[:, None] * added
        if table.shape[1] == 2:
            return bradley_terry(wins(orders, weights, m), tolerance=tolerance), lost
        return plackett_luce(table, weights, m, tolerance=tolerance), lost

    kinds = Counter((choice.order, choice.tie) for choice in choices)
    rows, counts = np.zeros((len(kinds), len(orders))), np.array(list(kinds.values()), dtype=np.float64)
    for row, (order, tie) in zip(rows, kinds):
        for each, weight in Choice("", order, tie).orders:
            row[column[each]] += weight
    (values,), (regularised,) = fit((counts @ rows)[None], 1e-10)

    unit = "judges" if len({choice.judge for choice in choices}) >= JUDGES and not regularised else "answers"
    if unit == "judges":
        rows, counts = _by_judge(choices, column)
    elif regularised:
        rows = np.concatenate([rows, np.eye(len(orders))[added > 0]])
        counts = np.concatenate([counts, added[added > 0]])
    draws = len(rows) if unit == "judges" else len(choices)
    again = np.random.default_rng(seed).multinomial(draws, counts / counts.sum(), replicates) @ rows
    parts = [fit(part, 1e-6) for part in np.array_split(again, math.ceil(replicates * table.size / 2e6))]
    drawn, lost = (np.concatenate(each) for each in zip(*parts))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Scores(values, low, high, unit, replicates, bool(regularised), int(lost.sum()))


def _by_judge(choices: Sequence[Choice], column: Mapping[tuple[int, ...], int]) -> tuple[Array, Array]:
    """Each judge's answers as weights of orders `(judges, orders)`, and that each judge counts once `(judges,)`."""
    number = {judge: i for i, judge in enumerate(sorted({choice.judge for choice in choices}))}
    own = np.zeros((len(number), len(column)))
    for choice in choices:
        for each, weight in choice.orders:
            own[number[choice.judge], column[each]] += weight
    return own, np.ones(len(number))


def bradley_terry(won: Array, *, tolerance: float = 1e-10) -> Array:
    """Scores `(..., m)` that maximise the likelihood of `won` `(..., m, m)`: i was preferred to j so many times.

    Hunter's equation 3: g_i <- W_i / sum_j N_ij / (g_i + g_j).
    """
    n, total = won + won.swapaxes(-1, -2), won.sum(-1)

    def better(strength: Array) -> Array:
        return np.asarray(total / (n / (strength[..., :, None] + strength[..., None, :])).sum(-1))

    return _climb(better, np.ones(total.shape), tolerance)


def plackett_luce(table: Array, weights: Array, m: int, *, tolerance: float = 1e-10) -> Array:
    """Scores `(..., m)` that maximise the likelihood of orders `table` `(R, k)`, best first, short ones filled with m;
    `weights` `(..., R)`: each was given so many times.

    Hunter's equation 30: g_i <- w_i / sum over the stages at which i could still be chosen of 1 / (what was left).
    """
    last = (table < m).sum(1) - 1  # the place that is no choice any more
    chosen = np.arange(table.shape[1]) < last[:, None]
    ranked = np.zeros((len(table), m + 1))
    np.put_along_axis(ranked, np.where(chosen, table, m), 1.0, 1)
    total = (weights @ ranked)[..., :m]
    place = np.eye(m + 1)[table].reshape(-1, m + 1)  # (R k, m + 1)

    def better(strength: Array) -> Array:
        padded = np.concatenate([strength, np.zeros((*strength.shape[:-1], 1))], -1)
        left = padded[..., table][..., ::-1].cumsum(-1)[..., ::-1]  # (..., R, k): of those not chosen yet
        stage = np.where(chosen, weights[..., None] / np.where(chosen, left, 1.0), 0.0).cumsum(-1)
        return total / (stage.reshape(*stage.shape[:-2], -1) @ place)[..., :m]

    return _climb(better, np.ones(total.shape), tolerance)


def _climb(better: Callable[[Array], Array], strength: Array, tolerance: float) -> Array:
    """ln of the fixed point of `better`, centred; an error where it is not reached."""
    scores = np.log(strength)
    for _ in range(MOST_STEPS):
        new = np.log(better(np.exp(scores)))
        new -= new.mean(-1, keepdims=True)
        if np.abs(new - scores).max() < tolerance:
            return new
        scores = new
    raise ZooError(f"the scores did not settle in {MOST_STEPS:,} steps: there are too few answers; collect more")


def wins(orders: Sequence[tuple[int, ...]], weights: Array, m: int) -> Array:
    """`(..., m, m)`: how often i stood before j in these orders, given `weights` `(..., R)` times each."""
    before = np.zeros((len(orders), m, m))
    for row, order in zip(before, orders):
        for place, i in enumerate(order):
            row[i, list(order[place + 1 :])] = 1
    return (weights @ before.reshape(len(orders), -1)).reshape(*weights.shape[:-1], m, m)


def has_maximum(won: Array) -> Array:
    """Ford's condition on `(..., m, m)`: whoever divides the alternatives in two, some of either part beat some of the
    other; that is, from each to each other there is a chain of wins."""
    return np.asarray(_reachable(won > 0).all((-1, -2)))


def _reachable(edges: Array) -> Array:
    """(..., m, m): whether a path leads from i to j."""
    m = edges.shape[-1]
    reach = edges | np.eye(m, dtype=bool)
    for _ in range(m.bit_length()):
        reach = (reach.astype(np.float32) @ reach.astype(np.float32)) > 0
    return reach


def _check_connected(met: Array, names: Sequence[str]) -> None:
    reach = _reachable(met)
    if not reach.all():
        groups = sorted({tuple(np.flatnonzero(row).tolist()) for row in reach})
        parts = " | ".join(", ".join(names[i] for i in group) for group in groups)
        raise ZooError(f"no common scale: these groups never met: {parts}; collect more answers")


def _padded(orders: Sequence[tuple[int, ...]], m: int) -> Array:
    longest = max(map(len, orders))
    return np.array([(*order, *[m] * (longest - len(order))) for order in orders])
