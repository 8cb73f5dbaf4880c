"""Rows that no model is: what they are for, in half a line. They stand apart from the models and are never the best."""

from __future__ import annotations

from zoo_bench.cards.types import Card
from zoo_bench.evaluation import floors
from zoo_bench.evaluation.rows import COPYCAT_GIVEN, DILUTED, FLOOR, FLOOR_GIVEN
from zoo_bench.reports.tables import Row

FAMILIES = {  # in the order in which they stand
    "floor": "real images scored as samples",
    "constructed": "constructed to show what a metric misses",
    "baseline": "a sanity-check baseline in closed form",
}
ROWS = {
    FLOOR: "training images scored as samples: the floor for every model",
    FLOOR_GIVEN: "training images scored under their labels: the floor",
    floors.COPYCAT: "memorises the training set: low likelihood of new images",
    COPYCAT_GIVEN: "draws training images of the given class",
    "uniform": "every image equally likely",
    "independent_pixels": "one histogram per pixel: worse models have learned nothing",
    "class_mixture": "independent pixels within each class",
    "gaussian": "one Gaussian: only the pixels' means and covariances",
}


def is_reference(row: Row) -> bool:
    return row.card.model.family in FAMILIES


def place(row: Row) -> tuple[int, str]:
    """Where a reference row stands among the others: by family, then by name."""
    return list(FAMILIES).index(row.card.model.family), row.name


def purpose(card: Card) -> str:
    """Half a line."""
    model = card.model
    if model.name == DILUTED and model.made_of is not None:
        return f"{model.made_of}: good likelihood, ruined samples"
    return ROWS.get(model.name) or FAMILIES[model.family]
