"""`zoo judge`: people as judges. Nothing heavy is imported before it runs."""

from __future__ import annotations

import shlex
import signal
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo_core.errors import ZooError

if TYPE_CHECKING:
    from zoo_bench.judging.study import Study


@click.command()
@click.argument("alternatives", nargs=-1, metavar="[ALTERNATIVE]...")
@click.option("--mode", type=click.Choice(["contrast", "ranking"]), help="Two at a time, or several in order.")
@click.option("--n", type=click.IntRange(1, 100_000), help="Questions (default: 60).")
@click.option("--per-question", type=click.IntRange(2), help="Alternatives in a ranking (default: 4, or all of fewer).")
@click.option("--grid", type=click.IntRange(1, 100), help="Images per alternative in a question (default: 1).")
@click.option("--question", help="The question asked (default: Which looks more real?).")
@click.option("--seed", type=int, help="Random seed of images, questions and their order (default: 0).")
@click.option("--data", help="The data set that `real` images are from (default: the training set of the weights).")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of data sets (default: ZOO_DATA).")
@click.option("--db", type=click.Path(path_type=Path), default=Path("runs/judge.sqlite"), show_default=True)
@click.option("--device", default="cpu", show_default=True, help="Device to sample on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1 (default: a free one).")
@click.option("--no-browser", is_flag=True, help="Print the address only.")
@click.option("--results", "show_results", is_flag=True, help="Print the scores of the answers so far.")
@click.option("--out", type=click.Path(path_type=Path), help="With --results: a folder for result cards.")
@click.option("--export", nargs=2, metavar="mturk FILE.csv", help="Write the questions for Mechanical Turk.")
@click.option("--image-url", help="With --export: write images as files, to be served below this URL.")
@click.option("--import", "results_file", type=click.Path(path_type=Path), help="Read answers (.csv) into the study.")
def judge(
    alternatives: tuple[str, ...],
    db: Path,
    port: int,
    no_browser: bool,
    show_results: bool,
    out: Path | None,
    export: tuple[str, str] | None,
    image_url: str | None,
    results_file: Path | None,
    **options: Any,
) -> None:
    """Ask people to judge images blindly: a page on this machine asks which of several looks more real.

    An ALTERNATIVE is weights (made.digits, a folder, hf:org/repo), samples (.npz, .npy, a folder of PNG files) or the
    word real; NAME=ALTERNATIVE gives it another name. Answers are kept in --db; run the same command to continue.
    """
    if sum(map(bool, (show_results, export, results_file))) > 1:
        raise ZooError("--results, --export and --import are three things; ask for one at a time")
    if out is not None and not show_results:
        raise ZooError("--out is for the cards of --results")
    if image_url is not None and not export:
        raise ZooError("--image-url is for --export")
    if export and export[0] != "mturk":
        raise ZooError(f"--export {export[0]}: expected mturk FILE.csv")
    from zoo_bench.judging.server import open_study
    from zoo_bench.progress import bars

    with bars(quiet=db.exists()) as bar:  # nothing is drawn for a study that is there
        study = open_study(db, list(alternatives), bar=bar, **options)
    try:
        if show_results:
            _results(study, out)
        elif export:
            from zoo_bench.judging import mturk as judge_mturk

            written = judge_mturk.export(study, Path(export[1]), image_url)
            click.echo(f"{study.known.n} questions in {', '.join(map(str, written))}")
        elif results_file:
            from zoo_bench.judging import mturk as judge_mturk

            count, rejected = judge_mturk.read(study, results_file)
            left_out = f" ({rejected} rejected assignments left out)" if rejected else ""
            click.echo(f"{count} answers imported{left_out}; scores: zoo judge --results --db {shlex.quote(str(db))}")
        else:
            _serve(study, port, browser=not no_browser)
    finally:
        study.close()


def _results(study: Study, out: Path | None) -> None:
    from zoo_bench.judging import results as judge_results

    found = judge_results.results(study)
    click.echo(judge_results.text(found))
    if out is not None:
        judge_results.write(found, out)
        click.echo(f"cards in {out}")


def _serve(study: Study, port: int, *, browser: bool) -> None:
    """Until Ctrl-C, which is the way to end it."""
    from zoo_bench.judging.server import Server

    stops = signal.SIGINT, signal.SIGTERM  # the first too: a shell's background commands begin with it ignored
    before = {number: signal.signal(number, signal.default_int_handler) for number in stops}
    with Server(study, port) as server:
        answers, _ = study.counts()
        kept = f"; {answers} answers are there already" if answers else ""
        click.echo(f"{study.known.n} questions about {', '.join(study.known.names)}{kept}")
        click.echo(f"judge at  {server.url}\nCtrl-C ends; every answer is saved at once in {study.path}")
        if browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    answers, judges = study.counts()
    where = "" if study.path == Path("runs/judge.sqlite") else f" --db {shlex.quote(str(study.path))}"
    click.echo(
        f"\n{answers} answers of {judges} judge{'' if judges == 1 else 's'} are saved in {study.path}; "
        f"continue with: zoo judge{where}; scores: zoo judge --results{where}"
    )
