"""`zoo show`: what is known about one model."""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
from pathlib import Path
from typing import Any

import click

from zoo_core import registry
from zoo_core.commands.list import summary
from zoo_core.commands.output import as_json, paragraph
from zoo_core.specs import ModelSpec, Pretrained


@click.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show what is known about model NAME, or about the weights NAME (made.digits): paper, config, weights."""
    spec = registry.spec(name)
    config, entries = spec.config.to_dict(), spec.pretrained
    if "." in name:
        entries = (registry.find_pretrained(spec, name.partition(".")[2]),)
        config = _packaged_config(spec, entries[0]) or config
    plugin, _ = registry.models.lookup(spec.name)
    weights = [dataclasses.asdict(entry) | {"name": f"{spec.name}.{entry.tag}"} for entry in entries]
    known = {"name": spec.name, **summary(spec), "plugin": f"{plugin.distribution} {plugin.version}"}
    known |= {"target": spec.target, "config": config, "pretrained": weights}
    if as_json:
        click.echo(json.dumps(known, indent=2))
        return
    paragraph(f"{spec.name}: ", spec.summary, len(spec.name) + 2)
    paragraph("paper", f"{spec.paper.authors} ({spec.paper.year}). {spec.paper.title}. {spec.paper.url}")
    paragraph("family", f"{spec.family} ({known['plugin']})")
    paragraph("kind", f"{spec.kind}; likelihood: {spec.likelihood}; conditioning: {spec.conditioning}")
    paragraph("class", spec.target)
    click.echo("\n".join(["config", *(f"  {key} = {json.dumps(value)}" for key, value in config.items())]))
    lines = [f"{spec.name}.{e.tag}  {e.source}  {e.licence}  sha256 {e.sha256[:16]}…" for e in entries]
    for line in lines or [f"none published; train them with: zoo train {spec.name}"]:
        click.echo(f"weights     {line}")


def _packaged_config(found: ModelSpec, entry: Pretrained) -> dict[str, Any] | None:
    """The config of weights that ship in the plugin's wheel, read without torch; None for those on the Hub."""
    path = Path(str(importlib.resources.files(found.package))) / entry.source / "config.json"
    return dict(json.loads(path.read_text())["config"]) if path.is_file() else None
