"""`zoo list`: which models there are."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args

import click

from zoo_core import registry
from zoo_core.commands.output import as_json, table
from zoo_core.errors import ZooError
from zoo_core.plugins import plugins
from zoo_core.specs import Kind, ModelSpec


@click.command("list")
@click.argument("pattern", default="*")
@click.option("--pretrained", is_flag=True, help="List weights (made.digits) instead of models.")
@click.option(
    "--kind",
    type=click.Choice([*get_args(Kind), "all"]),
    default="generative",
    show_default=True,
    help="Encoders and classifiers are models too, but draw no images.",
)
@as_json
def list_(pattern: str, pretrained: bool, kind: Any, as_json: bool) -> None:
    """List models whose name matches PATTERN (a glob)."""
    names = registry.list_models(pattern, pretrained=pretrained, kind=None if kind == "all" else kind)
    specs = [registry.models.get(name.partition(".")[0]) for name in names]
    if as_json:
        click.echo(json.dumps([{"name": name, **summary(spec)} for name, spec in zip(names, specs)], indent=2))
    elif not names:
        if kind != "all" and registry.list_models(pattern, pretrained=pretrained, kind=None):
            raise ZooError(f"no {kind} model matches {pattern!r}, but another one does: add --kind all")
        raise ZooError(f"no model matches {pattern!r}; `zoo list` shows all, `zoo plugins` what is installed")
    else:
        columns = {
            "MODEL": names,
            "FAMILY": [spec.family for spec in specs],
            "KIND": [spec.kind for spec in specs],
            "LIKELIHOOD": [spec.likelihood for spec in specs],
            "WEIGHTS": [" ".join(entry.tag for entry in spec.pretrained) for spec in specs],
            "SUMMARY": [spec.summary for spec in specs],
        }
        for hidden in [*(["KIND"] if kind == "generative" else []), *(["WEIGHTS"] if pretrained else [])]:
            del columns[hidden]
        table(tuple(columns), *zip(*columns.values()))
    _warn()


def summary(spec: ModelSpec) -> dict[str, Any]:
    """What a list says about a model, for programs."""
    known = {key: getattr(spec, key) for key in ("family", "kind", "summary", "likelihood", "conditioning")}
    tags = [entry.tag for entry in spec.pretrained]
    return known | {"pretrained": tags, "paper": dataclasses.asdict(spec.paper)}


def _warn() -> None:
    for name, owners in ((name, owners) for name, owners in registry.models.offers().items() if len(owners) > 1):
        who = ", ".join(plugin.distribution for plugin, _ in owners)
        click.echo(f"warning: model {name!r} is offered by {who}; choose with ZOO_PLUGINS", err=True)
    for plugin in (plugin for plugin in plugins().found if plugin.error):
        click.echo(f"warning: plugin {plugin.name!r} is not in use: {plugin.error}", err=True)
