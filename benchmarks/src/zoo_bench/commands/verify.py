"""`zoo verify CARD`: does a published number come out again?"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("card", type=click.Path(path_type=Path))
@click.option("--weights", type=click.Path(path_type=Path), help="Folder of the card's weights, if unpublished.")
@click.option("--data", help="The card's own images: folder:PATH.")
@click.option("--train", is_flag=True, help="Retrain unpublished weights by the card's recipe, however long it takes.")
@click.option("--suite", help="File of the card's suite, if it is your own: ./mine.toml.")
@click.option("--device", help="Device to compute on (default: this process's GPU, else the CPU).")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of data sets (default: ZOO_DATA).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def verify(card: Path, weights: Path | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Recompute a result CARD from its weights and compare.

    Exit status 1 if anything in it does not agree, 2 if nothing differs but something could not be checked here.
    """
    from zoo_bench.evaluation.verify import verify as run
    from zoo_bench.progress import bars

    with bars(quiet or as_json) as bar:
        checks = run(card, weights_folder=weights, bar=bar, **options)
    unchecked = [check for check in checks if check.status == "skipped"]
    differ = [check for check in checks if not check.agrees]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(check) for check in checks], indent=2))
    else:
        width = max(len(check.what) for check in checks)
        for check in checks:
            values = f"{_short(check.before)} and now {_short(check.now)}" if check.status != "skipped" else ""
            note = f"({check.note})" if check.note else ""
            click.echo(f"{check.status:<8} {check.what:<{width}}  {values} {note}".rstrip())
        verdict = "agrees"
        if differ:
            verdict = f"differs in {len(differ)} of {len(checks)}"
        elif unchecked:
            verdict = f"agrees as far as it could be checked here: {len(unchecked)} of {len(checks)} could not"
        click.echo(f"{card.name} {verdict}", err=bool(differ))
    sys.exit(1 if differ else 2 if unchecked else 0)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else f"{str(value)[:12]}…"
