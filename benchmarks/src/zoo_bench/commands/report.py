"""`zoo report PATHS`: tables of result cards, as text, Markdown, CSV or one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from zoo_core.errors import ZooError


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["terminal", "markdown", "csv", "html"]), default="terminal")
@click.option(
    "--columns",
    type=click.Choice(["headline", "all"]),
    default="headline",
    help="Each task's headline metrics, or all (CSV and HTML always have all).",
)
@click.option("--suite", help="A suite of your own, ./FILE.toml, whose tasks name their headlines.")
@click.option("--out", type=click.Path(path_type=Path), help="Write to a file instead of printing.")
@click.option("--update", multiple=True, type=click.Path(path_type=Path), help="Update the results in a Markdown file.")
@click.option("--model-cards", type=click.Path(path_type=Path), help="Write model cards into this folder.")
def report(
    paths: tuple[Path, ...],
    form: str,
    columns: str,
    suite: str | None,
    out: Path | None,
    update: tuple[Path, ...],
    model_cards: Path | None,
) -> None:
    """Make tables of the result cards in PATHS (default: runs)."""
    from zoo_bench.cards import files
    from zoo_bench.reports import report as reports
    from zoo_core.files import atomic

    chosen = list(paths) or [Path("runs")]
    if out is not None and out.exists() and not out.is_file():
        raise ZooError(f"--out {out}: expected a file to write, and that is {'a folder' if out.is_dir() else 'none'}")
    if update or model_cards:
        found = files.read_all(chosen)
        if model_cards:
            from zoo_bench.reports import modelcards  # the Hub's client takes a while to import

            for name in modelcards.update(model_cards, found):
                click.echo(f"{model_cards}/{name}.md: updated")
        for path in update:
            changed = not reports.fill_blocks(path, found)
            click.echo(f"{path}: {'updated' if changed else 'up to date'}")
        return
    if form == "html":
        from zoo_bench.reports import html as htmlreport

        click.echo(f"report in {htmlreport.write(files.read_all(chosen), out or Path('report.html'), chosen)}")
        return
    text = reports.report(chosen, form=form, columns=columns, suite=suite)  # type: ignore[arg-type]
    if out is None:
        click.echo(text)
        return
    with atomic(out) as temporary:
        temporary.write_text(click.unstyle(text), encoding="utf-8")
    click.echo(f"report in {out}")
