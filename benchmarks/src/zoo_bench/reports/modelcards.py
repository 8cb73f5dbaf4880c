"""Model cards: one Markdown page for each set of published weights, generated from its result card and its spec."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from zoo_bench.cards.types import Card
from zoo_bench.datasets import load as datasets
from zoo_bench.reports import modelpage, published
from zoo_core import registry
from zoo_core.files import atomic
from zoo_core.specs import ModelSpec, Pretrained


def update(folder: str | Path, found: Sequence[Card], *, check: bool = False) -> list[str]:
    """Write `MODEL.TAG.md` for all published weights that have result cards; the names that were not up to date."""
    stale = []
    for spec in registry.models.all():
        for entry in spec.pretrained:
            name = f"{spec.name}.{entry.tag}"
            own = [card for card in found if is_of(card, spec, entry)]
            if not own:
                continue
            path, text = Path(folder) / f"{name}.md", page(spec, entry, own)
            if not path.exists() or path.read_text() != text:
                stale.append(name)
                if not check:
                    with atomic(path) as temporary:
                        temporary.write_text(text)
    return stale


def is_of(card: Card, spec: ModelSpec, entry: Pretrained) -> bool:
    """Whether a card was measured with exactly these weights."""
    sha256 = card.model.weights.sha256 if card.model.weights is not None else None
    return card.model.name == spec.name and sha256 == entry.sha256 and card.is_complete


def page(spec: ModelSpec, entry: Pretrained, own: Sequence[Card]) -> str:
    """The Markdown of one model card."""
    name, paper = f"{spec.name}.{entry.tag}", spec.paper
    lines = [
        f"# {name}",
        "",
        f"{spec.summary} ({spec.family}; likelihood: {spec.likelihood}; conditioning: {spec.conditioning}).",
        "",
        f"{paper.authors} ({paper.year}). [{paper.title}]({paper.url}).",
        "",
        "```python",
        "import zoo_core",
        "",
        f'model = zoo_core.load("{name}")',
        "images = model.sample(16)  # uint8 (16, C, H, W)",
        "```",
        "",
        "## Numbers",
        "",
        *modelpage.listing(own),
    ]
    if beside := published.table(own):
        lines += ["", "Published, under *its own* protocol:", "", *beside]
    return "\n".join([*lines, *_training(name, entry, own[0])]) + "\n"


def _training(name: str, entry: Pretrained, card: Card) -> list[str]:
    """Where these weights come from, and what they are."""
    model, data = card.model, card.data
    assert model.weights is not None and data is not None  # of a model that was trained and scored
    return [
        "",
        "## Training",
        "",
        f"`zoo train {name}` reruns the recipe: {model.images_seen:,} images seen, "
        f"{model.training_seconds:,.0f} s on {model.training_device or 'cpu'}, "
        f"{model.weights.kind} weights.",
        "",
        "```json",
        json.dumps(model.config),
        "```",
        "",
        "## Weights",
        "",
        f"safetensors, {model.params:,} numbers, {entry.licence}, sha256 `{entry.sha256}`.",
        f"Data: {data.name}, {datasets.find(data.name).licence}.",
    ]
