"""Model cards: one Markdown page for each set of published weights, generated from its result cards and its spec.

Each is a card as the Hugging Face Hub wants it, so that a repository with these weights shows, finds and compares them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from zoo_bench import templates
from zoo_bench.cards import pinned
from zoo_bench.cards.types import Card, Metric
from zoo_bench.datasets import load as datasets
from zoo_bench.reports import modelpage, published
from zoo_bench.training import recipe
from zoo_core import registry
from zoo_core.files import atomic
from zoo_core.specs import ModelSpec, Pretrained

PIPELINES = {"none": "unconditional-image-generation", "text": "text-to-image"}  # the Hub has none for classes
OTHER = "image-generation"  # no pipeline of the Hub, but a result must name a task


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
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
                if not check:
                    with atomic(path) as temporary:
                        temporary.write_text(text, encoding="utf-8")
    return stale


def is_of(card: Card, spec: ModelSpec, entry: Pretrained) -> bool:
    """Whether a complete card was measured with exactly these weights."""
    return card.is_complete and pinned.is_of(card, spec, entry)


def page(spec: ModelSpec, entry: Pretrained, own: Sequence[Card]) -> str:
    """One model card: what the Hub reads of it, and below that what people read."""
    name, card = f"{spec.name}.{entry.tag}", own[0]
    model, data = card.model, card.data
    assert model.weights is not None and data is not None  # of a model that was trained and scored
    template = templates.text("zoo_bench.reports").get_template("modelcard.md")
    body = template.render(
        name=name,
        spec=spec,
        entry=entry,
        numbers=modelpage.listing(own),
        published=published.table(own),
        model=model,
        config=json.dumps(model.config),
        data=data,
        licence=datasets.find(data.name).licence,
    )
    return str(ModelCard(f"---\n{_header(name, spec, entry, own).to_yaml()}\n---\n{body}"))


def _header(name: str, spec: ModelSpec, entry: Pretrained, own: Sequence[Card]) -> ModelCardData:
    """What the Hub shows and searches: the library, the licence, the data, and the results as its `model-index`."""
    return ModelCardData(
        library_name="zoo",
        pipeline_tag=PIPELINES.get(spec.conditioning),
        license=entry.licence.lower().replace(" ", "-"),
        tags=["zoo", spec.family, spec.name],
        datasets=[recipe.plan(name).recipe.data] if entry.tag in recipe.available(spec) else None,
        model_name=name,
        eval_results=[_result(card, metric) for card in own for metric in card.metrics if _is_score(card, metric)],
    )


def _is_score(card: Card, metric: Metric) -> bool:
    """Flags warn and rank nothing, nor does an encoder that flatters the model; and a leaderboard ranks."""
    return metric.value is not None and not metric.is_flag and not card.is_flattered(metric)


def _result(card: Card, metric: Metric) -> EvalResult:
    """A number as the Hub has it. A bound is of another type than a value: nobody may rank it among values.

    The data set's config is the task: the same images under another protocol are another column.
    """
    data, params = card.data, metric.params
    kind = card.title(metric).replace(" ", "_") + {"≤": "_upper_bound", "≈": "_estimate"}.get(metric.relation or "", "")
    known = {
        "unit": metric.unit or None,
        "interval": _interval(metric) if metric.interval is not None else None,
        "method": params.method,
        "reference": params.reference,
        "n": params.n,
        "effective_sample_size": params.get("effective_sample_size"),
        "comparable_key": metric.comparable_key,
    }
    told = [metric.relation, card.title(metric), f"({params.reference})" if params.reference else None]
    return EvalResult(
        task_type=PIPELINES.get(card.model.conditioning, OTHER),
        task_name=card.task.id,
        dataset_type=data.name if data is not None else card.task.id,
        dataset_name=data.name if data is not None else card.task.id,
        dataset_config=card.task.id,
        dataset_split=data.split if data is not None else None,
        dataset_revision=data.sha256 if data is not None else None,
        metric_type=kind,
        metric_name=" ".join(part for part in told if part),
        metric_value=metric.value,
        metric_args={key: value for key, value in known.items() if value is not None},
    )


def _interval(metric: Metric) -> str:
    digits, interval = _digits(metric), metric.interval
    return "—" if interval is None else f"{interval.low:.{digits}f} … {interval.high:.{digits}f}"


def _digits(metric: Metric) -> int:
    return 2 if metric.unit.startswith("nats") else 4
