"""Every recipe in the wheels can be planned, and says so where nobody has trained it yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from zoo_bench.cards import files
from zoo_bench.training.recipe import available, decisive, plan, written

from zoo_core import registry

RESULTS = Path(__file__).parents[2] / "results" / "cards"
RECIPES = [
    f"{spec.name}.{tag}"
    for spec in registry.models.all()
    for tag in available(spec)
    if spec.family not in ("baseline", "constructed")
]


def test_every_learned_model_has_a_recipe_for_the_digits() -> None:
    learned = {spec.name for spec in registry.models.all() if spec.family not in ("baseline", "constructed")}
    assert learned <= {name.partition(".")[0] for name in RECIPES if name.endswith(".digits")}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_a_result_card_or_says_that_it_is_unrun(name: str) -> None:
    planned = plan(name)
    assert planned.name == name
    model, _, tag = name.partition(".")
    found = [
        card
        for card in files.read_all([RESULTS])
        if (card.model.name, card.model.tag) == (model, tag) and card.status == "ok"
    ]
    assert planned.unrun == (not found)
    for card in found:
        trained = written(card.model.recipe or planned.recipe.to_dict())
        assert decisive(trained) == decisive(planned.recipe), "the card is that of another recipe"
        config = type(planned.config).from_dict(card.model.config)  # fields that came later take their defaults
        assert config == planned.config
