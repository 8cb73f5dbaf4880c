"""`zoo bench SUITE`: train, evaluate, write cards, print the table; a rerun finishes only what is missing."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from zoo_bench.commands.options import data_dir, launched, processes


@click.command()
@click.argument("suite", default="quick")
@click.option("--models", help="Globs of models instead of the suite's default, e.g. '*' or 'made,vae'.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder (default: runs/SUITE).")
@click.option("--pretrained", is_flag=True, help="Use published weights instead of training.")
@click.option("--again", is_flag=True, help="Recompute everything, also what is finished.")
@click.option("--seeds", type=int, help="Number of sampling seeds, one card per seed.")
@click.option(
    "--budget",
    "--images",
    "images",
    type=int,
    help="Images seen per training run, instead of the recipe's number; the cards are partial.",
)
@click.option("--quiet", is_flag=True, help="No progress bars.")
@processes
@data_dir
def bench(suite: str, images: int | None, quiet: bool, processes: int | None, **options: Any) -> None:
    """Run SUITE (quick), or one task of it (small/fashion): train, evaluate, write cards, print the table.

    Rerun the same command to resume.
    """
    from zoo_bench.tasks.suites import load

    load(suite)  # before any process is started
    launched(processes)
    from zoo_bench.cards import files
    from zoo_bench.evaluation.bench import bench as run
    from zoo_bench.processes import is_main
    from zoo_bench.reports import html as htmlreport
    from zoo_bench.reports.report import report as tables
    from zoo_core.files import atomic

    def say(line: str) -> None:
        if is_main():
            click.echo(line, err=True)

    try:
        result = run(
            suite, quiet=quiet, settings={"images": images} if images is not None else None, say=say, **options
        )
    except KeyboardInterrupt as stopped:
        again = shlex.join(["zoo", *(argument for argument in sys.argv[1:] if argument != "--again")])
        where = str(stopped).partition(";")[0] or "stopped"
        click.echo(f"{where}; continue with: {again}", err=True)
        sys.exit(130)
    if not is_main():
        sys.exit(1 if result.failed else 0)
    folder = result.folder / "cards"
    click.echo(tables([folder], form="terminal", suite=suite))
    for form, suffix in (("markdown", "md"), ("csv", "csv")):
        text = tables([folder], form=form, suite=suite)  # type: ignore[arg-type]
        with atomic(result.folder / f"report.{suffix}") as temporary:
            temporary.write_text(text, encoding="utf-8")
    htmlreport.write(files.read_all([folder]), result.folder / "report.html", [folder], data_dir=options["data_dir"])
    for name, reason in result.missing.items():
        click.echo(f"not run: {name} ({reason})", err=True)
    click.echo(f"cards, grids and report in {result.folder}")
    if result.failed:
        sys.exit(1)
