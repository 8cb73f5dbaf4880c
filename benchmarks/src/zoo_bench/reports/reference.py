"""Rows that no model is: what they are for, in half a line. They stand apart from the models and are never the best."""

from __future__ import annotations

from zoo_bench.cards.types import Card
from zoo_bench.evaluation import floors
from zoo_bench.evaluation.rows import COPYCAT_GIVEN, DILUTED, FLOOR, FLOOR_GIVEN
from zoo_bench.reports.tables import Row

FAMILIES = {  # in the order in which they stand
    "floor": "real images, scored as samples",
    "constructed": "built to show what a metric does not see",
    "baseline": "a closed form to compare with",
}
ROWS = {
    FLOOR: "real images as samples: no honest model gets below",
    FLOOR_GIVEN: "real images under their labels: no honest model gets below",
    floors.COPYCAT: "draws training images: good samples, new images unlikely",
    COPYCAT_GIVEN: "draws training images of the class that is asked for",
    "uniform": "every image equally likely",
    "independent_pixels": "a histogram for each pixel: a worse model learned nothing",
    "class_mixture": "independent pixels within each class",
    "gaussian": "all means and covariances of pixels, and nothing else",
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
