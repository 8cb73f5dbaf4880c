"""What the answers of a study say: scores with intervals, as text and as result cards, one for each alternative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo_bench.cards import files
from zoo_bench.cards.card import digest, head, metric
from zoo_bench.cards.environment import command, environment
from zoo_bench.cards.types import (
    Card,
    DataEntry,
    Interval,
    Metric,
    ModelEntry,
    Performance,
    Sampling,
    TaskEntry,
    Timing,
    Weights,
)
from zoo_bench.datasets.load import find, public, tag
from zoo_bench.judging.choices import LEVEL, Choice, Scores, scores
from zoo_bench.judging.questions import VERSION, Alternative, Definition
from zoo_bench.judging.study import Study
from zoo_core import registry
from zoo_core.errors import ZooError

METRICS = {"contrast": "bradley_terry", "ranking": "plackett_luce"}


@dataclass(frozen=True)
class Results:
    """Scores of a study's alternatives, in its order. better: how often each stood before another, of `pairs`."""

    definition: Definition
    choices: Sequence[Choice]
    scores: Scores
    better: list[float]
    pairs: list[int]

    @property
    def judges(self) -> int:
        return len({choice.judge for choice in self.choices})

    @property
    def extreme(self) -> dict[str, str]:
        """Alternatives that nothing stood before, or that stood before nothing: their scores have no true end."""
        found = {}
        for name, better, pairs in zip(self.definition.names, self.better, self.pairs):
            if pairs and better in (0, pairs):
                found[name] = "never beaten" if better else "never preferred"
        return found


def results(study: Study, *, seed: int = 0) -> Results:
    """Of all answers so far; `ZooError` where they do not give one scale."""
    definition, choices = study.known, study.choices()
    if not choices:
        raise ZooError(f"{study.path} holds no answers yet; continue with: zoo judge --db {study.path}")
    found = scores(choices, definition.names, seed=seed)
    m = len(definition.names)
    better, pairs = [0.0] * m, [0] * m
    for choice in choices:
        for place, i in enumerate(choice.order):
            pairs[i] += len(choice.order) - 1
            better[i] += 0.5 if choice.tie else len(choice.order) - 1 - place
    return Results(definition, choices, found, better, pairs)


def text(found: Results) -> str:
    """A table, best first, and what one must know to read it."""
    definition, fitted = found.definition, found.scores
    method = {"contrast": "Bradley-Terry", "ranking": "Plackett-Luce"}[definition.mode]
    lines = [
        f"{definition.question}",
        f"{method} scores from {_count(len(found.choices), 'answer')} of {_count(found.judges, 'judge')}; "
        f"{LEVEL:.0%} intervals by {fitted.replicates:,} bootstrap draws of {fitted.unit}",
        "",
    ]
    width = max(5, *(len(name) for name in definition.names))
    lines.append(f"{'MODEL':<{width}}  {'SCORE':>6}  {'INTERVAL':^16}  {'PREFERRED':>9}")
    for i in np.argsort(-fitted.values, kind="stable"):
        share = f"{found.better[i] / found.pairs[i]:.0%}" if found.pairs[i] else "-"
        interval = f"[{fitted.low[i]:+.2f}, {fitted.high[i]:+.2f}]"
        mark = f"  {found.extreme[definition.names[i]]}" if definition.names[i] in found.extreme else ""
        name, value = definition.names[i], fitted.values[i]
        lines.append(f"{name:<{width}}  {value:>+6.2f}  {interval:^16}  {share:>9}{mark}")
    lines += ["", "scores add up to 0; e^(difference) are the odds of one against the other"]
    if fitted.regularised:
        lines += [
            "the likelihood of these answers has no maximum: half an answer each way was added to every pair that met;",
            "the outer scores mean 'at least this far'",
        ]
    return "\n".join(lines)


def _count(n: int, word: str) -> str:
    return f"{n} {word}" + ("" if n == 1 else "s")


def as_cards(found: Results) -> list[Card]:
    """One card for each alternative; their keys are equal, and equal to no other study's or other answers'."""
    definition = found.definition
    identity = definition.sha256()
    protocol = {
        "study": identity,
        "mode": definition.mode,
        "question": definition.question,
        "n": definition.n,
        "models": sorted(each.pixels for each in definition.alternatives),
        "answers": digest([[choice.judge, list(choice.order), choice.tie] for choice in found.choices]),
    }
    where = definition.data or "samples"
    task = TaskEntry(id=f"judge@{VERSION}/{tag(where)}-{identity[:8]}", version=VERSION, sha256=identity)
    machine = environment()
    return [
        Card(
            **head(task),
            model=_model(each),
            data=_data(each, definition),
            sampling=Sampling(n=each.facts["n"], seed=definition.seed, sha256=each.pixels),
            metrics=(_score(found, i, protocol),),
            performance=Performance(),
            environment=machine,
            published=(),
            timing=Timing(seconds=0.0),
            command=command(),
        )
        for i, each in enumerate(definition.alternatives)
    ]


def _score(found: Results, i: int, protocol: Mapping[str, Any]) -> Metric:
    """The entry of alternative i."""
    definition, fitted = found.definition, found.scores
    interval = Interval(
        level=LEVEL,
        low=float(fitted.low[i]),
        high=float(fitted.high[i]),
        method="bootstrap",
        n=len(found.choices) if fitted.unit == "answers" else found.judges,
    )
    return metric(
        METRICS[definition.mode],
        1,
        float(fitted.values[i]),
        unit="",
        relation=None,
        interval=interval,
        identity=protocol,
        higher_is_better=True,
        study=protocol["study"],
        mode=definition.mode,
        question=definition.question,
        answers=len(found.choices),
        judges=found.judges,
        preferred=found.better[i] / found.pairs[i] if found.pairs[i] else None,
        bootstrap=f"{fitted.replicates} draws of {fitted.unit}, percentiles",
        regularised=fitted.regularised,
        warning=found.extreme.get(definition.names[i]),
    )


def _data(each: Alternative, definition: Definition) -> DataEntry:
    """The set that the alternative stands for; judges see all images with 8 bits."""
    name = each.facts.get("data") or definition.data
    levels = find(name).images.levels if name else 256
    return DataEntry(name=public(name) if name else "samples", split="test", shape=definition.shape, levels=levels)


def _model(each: Alternative) -> ModelEntry:
    if each.kind != "weights":
        return ModelEntry(
            name=each.name,
            tag=None,
            plugin=None,
            plugin_version=None,
            config=None,
            params=None,
            weights=None,
            family="floor" if each.kind == "real" else "samples",
            conditioning="none",
        )
    facts = dict(each.facts)
    model, tag, kind = facts.pop("model"), facts.pop("tag"), facts.pop("weights")
    del facts["n"], facts["data"]
    plugin, spec = registry.models.lookup(model)
    own = each.name == f"{model}.{tag}"
    return ModelEntry(
        name=model if own else each.name,
        tag=tag if own else None,
        plugin=plugin.distribution,
        plugin_version=plugin.version,
        family=spec.family,
        weights=Weights(source=each.source, sha256=each.content, kind=kind),
        **facts,
    )


def write(found: Results, folder: Path) -> list[Path]:
    """The cards, below `folder`."""
    return [files.write(card, folder) for card in as_cards(found)]
