"""`zoo list`: which models there are."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from zoo_core import registry
from zoo_core.commands.output import as_json, table
from zoo_core.errors import ZooError
from zoo_core.plugins import plugins
from zoo_core.specs import ModelSpec


@click.command("list")
@click.argument("pattern", default="*")
@click.option("--pretrained", is_flag=True, help="List weights (made.digits) instead of models.")
@as_json
def list_(pattern: str, pretrained: bool, as_json: bool) -> None:
    """List models whose name matches PATTERN (a glob)."""
    names = registry.list_models(pattern, pretrained=pretrained)
    specs = [registry.models.get(name.partition(".")[0]) for name in names]
    if as_json:
        click.echo(json.dumps([{"name": name, **summary(spec)} for name, spec in zip(names, specs)], indent=2))
    elif not names:
        raise ZooError(f"no model matches {pattern!r}; `zoo list` shows all, `zoo plugins` what is installed")
    else:
        tags = [() if pretrained else (" ".join(entry.tag for entry in spec.pretrained),) for spec in specs]
        head = ("MODEL", "FAMILY", "LIKELIHOOD", *(() if pretrained else ("WEIGHTS",)), "SUMMARY")
        table(head, *((n, s.family, s.likelihood, *t, s.summary) for n, s, t in zip(names, specs, tags)))
    _warn()


def summary(spec: ModelSpec) -> dict[str, Any]:
    """What a list says about a model, for programs."""
    known = {key: getattr(spec, key) for key in ("family", "summary", "likelihood", "conditioning")}
    tags = [entry.tag for entry in spec.pretrained]
    return known | {"pretrained": tags, "paper": dataclasses.asdict(spec.paper)}


def _warn() -> None:
    for name, owners in registry.models.conflicts().items():
        who = ", ".join(plugin.distribution for plugin in owners)
        click.echo(f"warning: model {name!r} is offered by {who}; choose with ZOO_PLUGINS", err=True)
    for plugin in (plugin for plugin in plugins().found if plugin.error):
        click.echo(f"warning: plugin {plugin.name!r} is not in use: {plugin.error}", err=True)
