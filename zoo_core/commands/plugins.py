"""`zoo plugins`: who offers models and commands, and why somebody does not."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import click

from zoo_core import registry
from zoo_core.commands.output import as_json, table
from zoo_core.plugins import plugins


@click.command("plugins")
@as_json
def plugins_(as_json: bool) -> None:
    """List installed plugins, with the reason for each that is not in use."""
    for hook in ("models", "datasets", "extractors", "metrics"):
        getattr(registry, hook).offers()
    counts = Counter(plugin.name for owners in registry.models.offers().values() for plugin, _ in owners)
    entries = [dataclasses.asdict(plugin) | {"models": counts[plugin.name]} for plugin in plugins().found]
    if as_json:
        click.echo(json.dumps(entries, indent=2))
    else:
        rows = ((e["name"], e["distribution"], e["version"], str(e["models"]), e["error"] or "ok") for e in entries)
        table(("PLUGIN", "DISTRIBUTION", "VERSION", "MODELS", "STATUS"), *rows)
