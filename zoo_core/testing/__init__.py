"""The laws that every registered model is held to, run by pytest and by `zoo check NAME`.

    from zoo_core.testing import conformance      # an outside package's tests/test_laws.py, all of it
    test_laws = conformance(SPECS)

Likelihood laws are vacuous on a fresh network (a zero-initialised head is a correct uniform model), so they run on a
trained state: the tiny config, `TRAIN_STEPS` steps on structured images, `finish` included. Laws look at abilities
only, never at a family; what a model has no method for does not apply to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Literal

import torch

from zoo_core.errors import ZooError
from zoo_core.specs import ImageSpec, ModelSpec
from zoo_core.testing import twelve_laws
from zoo_core.testing.cases import BrokenLaw, Case, NotApplicable, accepted, structured_images

__all__ = ["LAWS", "BrokenLaw", "Case", "Law", "LawResult", "check", "conformance", "laws", "structured_images"]

FOUR_LEVELS = ImageSpec(channels=1, height=2, width=2, levels=4)  # 256 images
COLOUR = ImageSpec(channels=3, height=2, width=2, levels=2)  # 4,096 images; the order of channels
TWO_PIXELS = ImageSpec(channels=1, height=1, width=2, levels=16)  # 256 images; constants, densities
BINARY = ImageSpec(channels=1, height=4, width=4, levels=2)  # 65,536 images; exact models only
DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17)  # shapes
SMALL = (FOUR_LEVELS, COLOUR, TWO_PIXELS)
OF_TRAINING = (1, 9, 12)  # the laws of what draws nothing: encoders, classifiers


@dataclasses.dataclass(frozen=True)
class Law:
    """A law, the sizes it is tried on, and whom it applies to."""

    number: int
    name: str
    function: Callable[[Case], None]
    sizes: tuple[ImageSpec, ...]
    applies: Callable[[Case], bool] = lambda case: True

    def cases(self, spec: ModelSpec, device: str = "cpu") -> list[Case]:
        """This law's cases for a model: none where it does not apply."""
        if spec.kind != "generative" and self.number not in OF_TRAINING:
            return []
        cases = [accepted(spec, images, device) for images in self.sizes]
        return [case for case in cases if case and self.applies(case)]


LAWS = (
    Law(1, "builds", twelve_laws.builds, (DIGITS, *SMALL, BINARY)),
    Law(2, "samples", twelve_laws.samples, (DIGITS, *SMALL, BINARY)),
    Law(3, "normalised", twelve_laws.normalised, (*SMALL, BINARY), lambda case: case.has("log_prob")),
    Law(4, "integrates", twelve_laws.integrates, (TWO_PIXELS,), lambda case: case.has("log_density")),
    Law(5, "bounded", twelve_laws.bounded, SMALL, lambda case: case.has("iwae", "elbo")),
    Law(6, "estimated", twelve_laws.estimated, SMALL, lambda case: case.has("log_prob_estimate")),
    Law(7, "sampled", twelve_laws.sampled, SMALL, lambda case: case.has("log_prob", "iwae")),
    Law(7, "sampled-density", twelve_laws.sampled, (TWO_PIXELS,), lambda case: case.has("log_density")),
    Law(8, "ordered", twelve_laws.ordered, SMALL, lambda case: case.has("log_conditionals")),
    Law(9, "accumulates", twelve_laws.accumulates, (*SMALL, DIGITS), lambda case: not case.has_batch_norm()),
    Law(10, "labels", twelve_laws.labels_matter, (*SMALL, DIGITS), lambda case: case.conditioning != "none"),
    Law(11, "inverts", twelve_laws.inverts, SMALL, lambda case: case.has("flow")),
    Law(11, "never-falls", twelve_laws.never_falls, SMALL, Case.is_em),
    Law(12, "resumes", twelve_laws.resumes, (*SMALL, DIGITS)),
)


@dataclasses.dataclass(frozen=True)
class LawResult:
    """What `check` found about one law."""

    number: int
    name: str
    status: Literal["holds", "broken", "not applicable"]
    message: str = ""


def laws(spec: ModelSpec, *, slow: bool = False, device: str = "cpu") -> list[tuple[Law, list[Case]]]:
    """The laws that apply to a model, with the sizes to run: the first that fits, or with `slow` all of them."""
    found = [(law, law.cases(spec, device)) for law in LAWS]
    return [(law, cases if slow else cases[:1]) for law, cases in found if cases]


def check(
    spec: ModelSpec,
    *,
    slow: bool = False,
    device: str = "cpu",
    report: Callable[[LawResult], object] = lambda result: None,
) -> list[LawResult]:
    """Hold a model to every law on a device; `report` hears each result as it comes."""
    spec.load_class()  # an import error is told as one
    try:
        torch.zeros((), device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ZooError(f"device {device!r} cannot be used here ({reason}); try cpu") from error
    try:
        applicable = {law.name: cases for law, cases in laws(spec, slow=slow, device=device)}
    except ZooError:
        raise
    except Exception as error:  # not even built: half of a model, as a contributor has it for an afternoon
        report(broken := LawResult(1, "builds", "broken", f"{type(error).__name__}: {error}"))
        return [broken]
    if not applicable:
        sizes = "; ".join(str(law_images) for law_images in (DIGITS, *SMALL, BINARY))
        raise ZooError(f"{spec.name}: its constructor refuses every image size of the conformance tests ({sizes})")
    results = []
    for law in LAWS:
        cases, result, reasons = applicable.get(law.name, []), LawResult(law.number, law.name, "holds"), []
        for case in cases:
            try:
                law.function(case)
            except NotApplicable as reason:
                reasons.append(str(reason))
            except Exception as error:
                kind = "" if isinstance(error, BrokenLaw) else f"{type(error).__name__}: "
                result = LawResult(law.number, law.name, "broken", f"on {case.images}: {kind}{error}")
                break
        else:
            if len(reasons) == len(cases):
                result = LawResult(law.number, law.name, "not applicable", "".join(reasons[:1]))
        results.append(result)
        report(result)
    return results


def conformance(specs: Iterable[ModelSpec]) -> Callable[..., None]:
    """A pytest test that holds each model to each law that applies: `test_laws = conformance(SPECS)`.

    Sizes beyond the first that fits are marked `slow`.
    """
    import pytest

    parameters = []
    for spec in specs:
        found = laws(spec, slow=True)
        if not found:  # a test that fails, not a model that nobody tested
            parameters.append(pytest.param(None, spec, id=f"{spec.name}-takes-no-law-image"))
        for law, cases in found:
            for i, case in enumerate(cases):
                size = "x".join(map(str, case.images.shape))
                name = f"{spec.name}-law{law.number:02}-{law.name}" + (f"-{size}" if i else "")
                parameters.append(pytest.param(law, case, id=name, marks=[pytest.mark.slow] if i else []))

    @pytest.mark.parametrize(("law", "case"), parameters)
    def test_laws(law: Law | None, case: Case | ModelSpec) -> None:
        if law is None or not isinstance(case, Case):
            raise BrokenLaw(f"{case}: the constructor refuses every image size of the tests")
        try:
            law.function(case)
        except NotApplicable as reason:
            pytest.skip(str(reason))

    return test_laws
