"""`zoo data`: the data sets that plugins offer, and how to name your own."""

from __future__ import annotations

import dataclasses
import json

import click

from zoo_core import registry


@click.command("data")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def data(as_json: bool) -> None:
    """List data sets: those that plugins offer, and how to name your own."""
    specs = registry.datasets.all()
    if as_json:
        facts = [{**dataclasses.asdict(spec), "images": spec.images.to_dict()} for spec in specs]
        click.echo(json.dumps(facts, indent=2))
        return
    for spec in specs:
        click.echo(f"{spec.name:<17} {spec.images!s:<31} {spec.summary} ({spec.licence})")
    click.echo("folder:PATH       your own images; --size, --grey; sub-folders are classes, .txt files captions")
    click.echo("hf:REPO           a data set of the Hugging Face Hub, by the library `datasets`")
