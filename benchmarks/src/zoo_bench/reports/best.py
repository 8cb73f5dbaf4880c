"""Which number of a column is proven better than all others, if any is.

An interval at 95 %, or a relation, says between which values the truth lies; a beats b where all that a may be is
better than all that b may be. So a bound (≤) may beat an exact value and is never beaten, and nothing is proven of an
estimate (≈), of a number without an interval, or by a standard deviation over sampling seeds. Two intervals that do not
meet are more than a test of the difference asks for: where nothing is called the best, there may be one all the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from zoo_bench.cards.types import Metric
from zoo_bench.reports.columns import Column
from zoo_bench.reports.tables import Row


def known(entry: Metric) -> tuple[float, float]:
    """From where to where the truth may lie."""
    interval = entry.interval
    low, high = -math.inf, math.inf
    if interval is not None and interval.level is not None:
        low, high = interval.low, interval.high
    elif interval is None and entry.relation is not None and entry.value is not None:  # summed over all images
        low = high = entry.value
    if entry.relation == "≈":
        return -math.inf, math.inf
    return (-math.inf, high) if entry.relation == "≤" else (low, high)


def beats(a: Metric, b: Metric) -> bool:
    """Whether a is proven better than b, which has the same key."""
    (a_low, a_high), (b_low, b_high) = known(a), known(b)
    return a_low > b_high if a.higher_is_better else a_high < b_low


def best(column: Column, rows: Sequence[Row]) -> str | None:
    """The name of the row that beats every other one in this column; None where none does, or there is no other.

    Flags rank nothing, and a number by an encoder that the model was trained against takes no part.
    """
    if column.better is None:
        return None
    entries = {row.name: row.values[column.key] for row in rows if column.key in row.values}
    cards = {row.name: row.card for row in rows}
    there = {
        name: entry
        for name, entry in entries.items()
        if entry.value is not None and not entry.is_flag and not cards[name].is_flattered(entry)
    }
    for name, entry in there.items():
        others = [other for other_name, other in there.items() if other_name != name]
        if others and all(beats(entry, other) for other in others):
            return name
    return None
