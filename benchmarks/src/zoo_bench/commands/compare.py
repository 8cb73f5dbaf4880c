"""`zoo compare A B`: is one model better than another on the same images?"""

from __future__ import annotations

import json
from pathlib import Path

import click

_PLACES = (Path("runs"), Path("benchmarks/results"))


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--metric", default="nats", show_default=True, help="The per-image metric to compare.")
@click.option(
    "--cards",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folders of cards (default: runs and benchmarks/results).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def compare(a: str, b: str, metric: str, folders: tuple[Path, ...], as_json: bool) -> None:
    """Compare the result cards A and B (files, or names such as made.digits) by their paired difference."""
    from zoo_bench.evaluation.compare import compare as run
    from zoo_bench.evaluation.compare import find

    places = folders or tuple(place for place in _PLACES if place.is_dir())
    result = run(find(a, places, metric), find(b, places, metric), metric)
    click.echo(json.dumps(result.to_dict(), indent=2) if as_json else str(result))
