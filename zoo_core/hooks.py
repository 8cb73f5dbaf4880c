"""The hooks through which a plugin offers models, data sets, extractors, metrics and commands.

A plugin is a package with an entry point in the group `zoo`; the value is the package itself. Each hook is cheap and
imports no torch: it returns specifications, and what they point to is imported when it is used.

    from zoo_core import hookimpl

    @hookimpl
    def zoo_models():
        from zoo_autoregressive.configs import SPECS
        return SPECS
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from zoo_core.specs import DatasetSpec, ExtractorSpec, MetricSpec, ModelSpec

if TYPE_CHECKING:
    import click

GROUP = "zoo"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def zoo_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """Models this plugin offers."""


@hookspec
def zoo_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Data sets this plugin can read."""


@hookspec
def zoo_extractors() -> Iterable[ExtractorSpec]:  # type: ignore[empty-body]
    """Feature networks for sample-quality metrics."""


@hookspec
def zoo_metrics() -> Iterable[MetricSpec]:  # type: ignore[empty-body]
    """Metrics this plugin can compute."""


@hookspec
def zoo_commands(cli: click.Group) -> None:
    """Add sub-commands to the `zoo` command."""
