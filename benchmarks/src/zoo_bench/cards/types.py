"""What a result card is, field by field: the one definition that Python, the JSON schema and every table share.

    card = Card.of({...})                 # checked: `ZooError` names the place and what is expected there
    card.metrics[0].value, card.model.weights.sha256, card.metrics[0].params.reference
    card.to_dict()                        # JSON's types: what was never said stays absent, null stays null
    card.but(partial=True)                # a changed copy: cards are frozen

A card is one model on one task, its samples drawn from one seed. null is what failed, absent what was not asked for;
NaN and infinity are no numbers. Fields that this file does not know are refused, but for a metric's `params`.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError, model_validator

from zoo_core.errors import ZooError
from zoo_core.specs import Conditioning

SCHEMA = 1
TRAINED_WITH = "by an encoder that the model was trained with: biased in its favour, not ranked"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Relation = Literal["=", "≤", "≈"]
Json = dict[str, JsonValue]


class Part(BaseModel):
    """Frozen, strict, without a field that is not written down."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def of(cls, value: Any, name: str = "card") -> Self:
        """From JSON's types. name: what the whole is called in an error."""
        try:
            return cls.model_validate_json(json.dumps(value, allow_nan=False))
        except ValidationError as error:
            raise ZooError(told(error, name)) from error
        except (ValueError, TypeError, RecursionError) as error:  # no JSON
            raise ZooError(f"{name}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """JSON's types, only what was said."""
        return self.model_dump(mode="json", exclude_unset=True)

    def but(self, **changes: Any) -> Self:
        """A copy with some fields replaced, checked like any other."""
        said = {name: value for name, value in self if name in self.model_fields_set}
        return type(self)(**{**said, **changes})


class TaskEntry(Part):
    """`quick@1/digits`, and the sha256 of its definition."""

    id: Text
    version: Positive | None = None
    sha256: Sha256 | None = None


class Weights(Part):
    """source: a name, a folder, or `recipe` for weights that a benchmark trained. kind: ema or raw."""

    source: str
    sha256: Sha256
    kind: str | None = None


class ModelEntry(Part):
    """The model, its weights, and how they were trained.

    params: numbers that a training sets. made_of: what a constructed row is made of. source: the file that samples from
    elsewhere were read from. trained_with: encoders that it was trained against. init: the sha256 of the weights that a
    part of it began with (a first stage).
    """

    name: Text
    plugin: str | None = None
    plugin_version: str | None = None
    family: str
    config: Json | None = None
    conditioning: Conditioning = "none"
    params: Count | None = None
    tag: str | None
    recipe: Json | None = None
    weights: Weights | None = None
    images_seen: Count | None = None
    training_device: str | None = None
    training_seconds: float | None = None
    made_of: str | None = None
    source: str | None = None
    trained_with: tuple[str, ...] = ()
    init: dict[str, Sha256] = {}


class DataEntry(Part):
    """The split that was scored, and the sha256 of all splits that took part. subset: a pinned choice of so many."""

    name: str
    split: str
    sha256: Sha256 | None = None
    n: Count | None = None
    splits: dict[str, Sha256] = {}
    shape: tuple[Positive, Positive, Positive]
    levels: Annotated[int, Field(ge=2, le=256)]
    subset: Positive | None = None


class Sampling(Part):
    """How samples were drawn. network_evaluations: for each image. model, weights: what a file of samples says."""

    n: Count | None = None
    seed: int
    chunk: Positive | None = None
    sampler: str | None = None
    model: str | None = None
    weights: str | None = None
    device: str | None = None
    sha256: Sha256 | None = None
    conditions: str | None = None
    network_evaluations: Positive | None = None
    guidance: float | None = None
    temperature: float | None = None


class Interval(Part):
    """From low to high, by `method`. level: 0.95; none where it is a standard deviation. n: what it is over."""

    level: Share | None = None
    low: float
    high: float
    method: str
    n: Positive | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"its low end lies above its high one ({self.low} and {self.high})")
        return self

    @classmethod
    def around(cls, value: float, half: float, method: str, n: int, level: float = 0.95) -> Self:
        """value ± half."""
        return cls(level=level, low=value - half, high=value + half, method=method, n=n)

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def shown(self, value: float, digits: int) -> str:
        """`± 0.01`, or `[0.95, 0.99]` where it is not symmetric about the value."""
        if abs((self.low + self.high) / 2 - value) <= 0.01 * (self.high - self.low) + 1e-12:
            return f"± {self.half_width:.{digits}f}"
        return f"[{self.low:.{digits}f}, {self.high:.{digits}f}]"


class Params(Part):
    """A metric's protocol and what else must be known of it; every metric may add fields of its own.

    method: how a likelihood was computed. reference: the split that samples are compared with. images: how many of them
    on either side, where both are cut. flag: it warns of something, and says nothing about better or worse. ids: what
    the numbers would be called, of an entry without. seeds: how many values this is the mean of.
    trained_with: the model was trained against this encoder, which flatters it.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    method: str | None = None
    reason: str | None = None
    warning: str | None = None
    reference: str | None = None
    n: int | None = None
    n_reference: int | None = None
    images: int | None = None
    extractor: str | None = None
    flag: bool | None = None
    ids: tuple[str, ...] | None = None
    seeds: int | None = None
    trained_with: bool | None = None

    def get(self, name: str, default: Any = None) -> Any:
        """A field by its name, one that only this metric has among them; `default` where nothing was said of it."""
        return dict(self)[name] if name in self.model_fields_set else default


class Metric(Part):
    """One number under one protocol: two may be compared where their `comparable_key` is equal.

    value: null where it failed or was skipped, as `status` and `params.reason` say. relation: of a likelihood.
    """

    id: Text
    version: Positive
    value: float | None
    unit: str
    relation: Relation | None
    higher_is_better: bool
    interval: Interval | None
    params: Params
    comparable_key: Sha256
    status: Literal["skipped", "failed"] | None = None

    @property
    def is_flag(self) -> bool:
        """Whether it warns of something, and says nothing about better or worse."""
        return self.params.flag is not None

    @property
    def is_unmeasured(self) -> bool:
        """No value and no relation. (An infinite likelihood has a relation: it was measured.)"""
        return self.value is None and self.relation is None


class Performance(Part):
    """What it cost on one machine: never ranked. Rates are images per second, medians and quartiles over chunks."""

    compile: bool | None = None
    likelihood_images_per_second: float | None = None
    likelihood_quartiles: tuple[float, float] | None = None
    likelihood_chunks: Positive | None = None
    sampling_images_per_second: float | None = None
    sampling_quartiles: tuple[float, float] | None = None
    sampling_chunks: Positive | None = None
    flops_per_generated_image: Count | None = None
    flops_per_training_image: Count | None = None
    peak_memory_mb: Count | None = None
    training_images_per_second: float | None = None


class Environment(Part):
    """What the numbers were computed with. git: the commit; dirty: whether the source differed from it."""

    git: str | None = None
    dirty: bool | None = None
    python: str | None = None
    packages: dict[str, str | None] = {}
    device: str | None = None
    processes: Positive | None = None
    threads: Positive | None = None
    precision: str | None = None


class Published(Part):
    """A number from the literature, under its own protocol. why: what makes ours another number."""

    value: float
    unit: str
    protocol: str
    source: str
    why: str | None = None


class NatsFile(Part):
    """log P of each image, float64 `(n,)`, in a file beside the card."""

    name: str
    sha256: Sha256


class Training(Part):
    """curve: what was logged on the way, by images seen: columns, or lines."""

    curve: dict[str, JsonValue] | list[JsonValue] | None = None


class Timing(Part):
    """seconds: of the evaluation."""

    seconds: float


class Card(Part):
    """One model on one task, its samples drawn from one seed.

    partial: a trial, which never enters a table. error: why it failed. weaker_likelihoods: beside the strongest.
    engine, asked: where more was asked for than the task measures.
    """

    schema_version: Positive
    status: Literal["ok", "failed", "skipped"]
    error: str | None = None
    partial: bool = False
    task: TaskEntry
    model: ModelEntry
    data: DataEntry | None = None
    sampling: Sampling | None = None
    metrics: tuple[Metric, ...]
    weaker_likelihoods: tuple[Metric, ...] = ()
    performance: Performance | None = None
    environment: Environment | None = None
    published: tuple[Published, ...] | None = None
    training: Training | None = None
    timing: Timing | None = None
    command: str | None = None
    engine: str | None = None
    asked: tuple[str, ...] | None = None
    nats_file: NatsFile | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """What one field alone cannot say."""
        if self.status != "ok" and self.error is None:
            raise ValueError(f"status {self.status} without an error that says why")
        if self.nats_file is not None and (self.data is None or self.data.n is None):
            raise ValueError("a nats_file, and data does not say of how many images (n)")
        keys = [entry.comparable_key for entry in self.metrics]
        twice = next((entry.id for entry in self.metrics if keys.count(entry.comparable_key) > 1), None)
        if twice is not None:
            raise ValueError(f"metrics hold {twice!r} twice under one comparable_key")
        return self

    @property
    def name(self) -> str:
        """`made.digits`; the bare name of what has no tag."""
        return ".".join(filter(None, (self.model.name, self.model.tag)))

    @property
    def seed(self) -> int:
        """The seed that the samples were drawn from; 0 where there are none."""
        return self.sampling.seed if self.sampling is not None else 0

    @property
    def is_complete(self) -> bool:
        """Whether the card may stand in a table: partial ones never do."""
        return self.status == "ok" and not self.partial

    @property
    def stem(self) -> str:
        """`made.digits.quick-v1-digits.seed0`, the name of the card's file; partial ones end in `.partial`."""
        name = f"{self.model.name}.{self.model.tag or 'untagged'}"
        return f"{name}.{file_name(self.task.id)}.seed{self.seed}" + (".partial" if self.partial else "")

    def is_flattered(self, metric: Metric) -> bool:
        """Whether the model was trained against the encoder that this number is computed with."""
        return bool(metric.params.trained_with) or metric.params.extractor in self.model.trained_with

    def title(self, metric: Metric) -> str:
        """What a metric is called: log P(x | label) is another quantity than log P(x), and has another name."""
        given = {"class": " given labels", "text": " given captions"}.get(self.model.conditioning, "")
        compared = metric.relation is not None or metric.params.n_reference is not None
        return f"{metric.id}{given if compared else ''}"


def file_name(task_id: str) -> str:
    """`quick@1/digits` as part of a file's name: `quick-v1-digits`."""
    return task_id.replace("/", "-").replace("@", "-v")


_EXPECTED = {  # by the kind of complaint
    "model_type": "an object",
    "dict_type": "an object",
    "list_type": "an array",
    "tuple_type": "an array",
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "literal_error": "{expected}",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
    "too_long": "an array of at most {max_length}",
    "string_too_short": "a string that is not empty",
    "string_pattern_mismatch": "a sha256 (64 digits, 0-9 and a-f)",
}


def told(error: ValidationError, name: str) -> str:
    """The first complaint in a line: where, what is expected there, and what was given."""
    found = error.errors()
    first, place = found[0], _place(found[0]["loc"], name)
    if first["type"] == "missing":
        return f"{place} is missing"
    if first["type"] == "extra_forbidden":
        return f"{place} is a field that no card of this schema has"
    if first["type"] == "value_error":
        return f"{place}: {first['ctx']['error']}"
    given = json.dumps(first["input"], ensure_ascii=False, default=repr)
    expected = dict.fromkeys(  # of a field that takes several kinds of value, all that it takes
        _EXPECTED[one["type"]].format(**one.get("ctx", {})) if one["type"] in _EXPECTED else one["msg"]
        for one in found
        if _place(one["loc"], name) == place
    )
    return f"{place}: expected {' or '.join(expected)}, got {given if len(given) <= 60 else given[:59] + '…'}"


def _place(path: tuple[int | str, ...], name: str) -> str:
    """`card.metrics[0].value`, without what pydantic says of a choice between types (`dict[str,…]`)."""
    parts = [part for part in path if not str(part).startswith(("dict[", "list["))]
    return name + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
