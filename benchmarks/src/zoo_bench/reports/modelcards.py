"""Model cards: one Markdown page for each set of published weights, generated from its result card and its spec."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from zoo_bench.cards import card as cards
from zoo_bench.datasets import load as datasets
from zoo_bench.reports import markdown, published
from zoo_core import registry
from zoo_core.sampling import atomic
from zoo_core.specs import ModelSpec, Pretrained


def update(folder: str | Path, found: Sequence[cards.Card], *, check: bool = False) -> list[str]:
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


def is_of(card: cards.Card, spec: ModelSpec, entry: Pretrained) -> bool:
    """Whether a card was measured with exactly these weights."""
    weights = card["model"].get("weights") or {}
    return card["model"]["name"] == spec.name and weights.get("sha256") == entry.sha256 and cards.is_complete(card)


def page(spec: ModelSpec, entry: Pretrained, own: Sequence[cards.Card]) -> str:
    """The Markdown of one model card."""
    name, paper, model = f"{spec.name}.{entry.tag}", spec.paper, own[0]["model"]
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
        "| task | metric | value | 95 % interval | method | reference | N |",
        "|---|---|---|---|---|---|---|",
    ]
    for card in own:
        lines += [_number(card, metric) for metric in card["metrics"]]
    if beside := published.table(own):
        lines += ["", "Published, under *its own* protocol:", "", *beside]
    lines += [
        "",
        "## Training",
        "",
        f"`zoo train {name}` reruns the recipe: {model['images_seen']:,} images seen, "
        f"{model['training_seconds']:,.0f} s on {model.get('training_device', 'cpu')}, "
        f"{model['weights']['kind']} weights.",
        "",
        "```json",
        json.dumps(model["config"]),
        "```",
        "",
        "## Weights",
        "",
        f"safetensors, {model['params']:,} numbers, {entry.licence}, sha256 `{entry.sha256}`.",
        f"Data: {own[0]['data']['name']}, {datasets.find(own[0]['data']['name']).licence}.",
    ]
    return "\n".join(lines) + "\n"


def _number(card: cards.Card, metric: dict) -> str:
    interval, params = metric["interval"], metric["params"]
    digits = 2 if metric["unit"].startswith("nats") else 4
    relation = f"{metric['relation']} " if metric["relation"] else ""
    shown = f"{interval['low']:.{digits}f} … {interval['high']:.{digits}f}" if interval else "—"
    unit = f" {metric['unit']}" if metric["unit"] else ""
    value = (
        metric.get("status", "failed") if metric["value"] is None else f"{relation}{metric['value']:.{digits}f}{unit}"
    )
    cells = [
        card["task"]["id"],
        cards.title(card, metric),
        value,
        shown,
        params.get("method", "—"),
        params.get("reference", "—"),
        f"{interval['n']:,}" if interval else "—",
    ]
    return markdown.row(cells)
