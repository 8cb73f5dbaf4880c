"""`zoo new NAME`: the scaffold of a family."""

from __future__ import annotations

import click


@click.command()
@click.argument("name")
@click.option("--model", help="The name of its first model (default: NAME).")
@click.option("--out", metavar="DIR", help="Where to create it (default: plugins/ in a checkout of zoo, else here).")
def new(name: str, model: str | None, out: str | None) -> None:
    """Write a plugin, the folder zoo-NAME, with a small model that passes the conformance tests."""
    from zoo_bench.scaffold import scaffold

    click.echo(scaffold.new(name, model=model, out=out), nl=False)
