"""The harness's commands of `zoo`. Nothing heavy is imported before one runs."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from zoo_bench.compare_command import compare
from zoo_bench.judge_command import judge
from zoo_bench.scaffold_command import new
from zoo_bench.verify_command import verify
from zoo_core import registry
from zoo_core.errors import ZooError

data_dir = click.option("--data-dir", type=click.Path(path_type=Path), help="Where data sets lie (default: ZOO_DATA).")


processes = click.option("--processes", type=int, help="Run as so many processes on this machine, one a GPU.")


def _launched(count: int | None) -> None:
    """Where `--processes` asks for several: run this very command as so many, and end with their exit status."""
    from zoo_bench import processes

    if processes.must_launch(count):
        sys.exit(processes.launch(count or 1, sys.argv[1:]))
    if not processes.is_main():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the main process speaks for all


def _pairs(items: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise ZooError(f"--set {item}: expected KEY=VALUE, e.g. --set hidden=256")
        pairs[key] = value
    return pairs


_RECIPE = ("images", "batch", "micro_batch", "lr", "schedule", "warmup", "ema", "clip", "precision", "seed")


@click.command()
@click.argument("name")
@click.option("--data", help="The data set (default: the recipe's): digits, folder:PATH, hf:REPO, ...")
@click.option("--size", type=click.IntRange(1), help="Scale and crop the pictures of folder: or hf: to SIZE x SIZE.")
@click.option("--grey", is_flag=True, help="Turn the pictures of folder: or hf: grey.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder (default: runs/MODEL.DATA).")
@click.option("--resume", is_flag=True, help="Go on where the run in --out stopped.")
@click.option("--overwrite", is_flag=True, help="Replace the run in --out.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the model's config (unet.width=96).")
@click.option("--images", type=int, help="Budget: images seen.")
@click.option("--batch", type=int, help="Images a step.")
@click.option("--micro-batch", type=int, help="Most images in one forward pass; gradients are accumulated.")
@click.option("--lr", type=float, help="Learning rate.")
@click.option("--schedule", type=click.Choice(["constant", "cosine"]))
@click.option("--warmup", type=int, help="Images over which the learning rate rises.")
@click.option("--ema", type=int, help="Half-life of the average of weights, in images; 0 for none.")
@click.option("--clip", type=float, help="Largest gradient norm; 0 for none.")
@click.option("--precision", type=click.Choice(["no", "bf16", "fp16"]), help="Mixed precision.")
@click.option("--seed", type=int)
@click.option("--tracker", "trackers", multiple=True, help="tensorboard, wandb, ... (any that Accelerate knows).")
@click.option(
    "--grids", type=click.IntRange(0), default=8, show_default=True, help="Sample grids while training; 0 for none."
)
@click.option("--checkpoint-seconds", default=60.0, show_default=True, help="Time between checkpoints.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@processes
@data_dir
def train(
    name: str,
    data: str | None,
    size: int | None,
    grey: bool,
    changes: tuple[str, ...],
    quiet: bool,
    processes: int | None,
    **options: Any,
) -> None:
    """Train NAME: a recipe (made.digits), a model (made, with --data), or a recipe file (./my.toml)."""
    from zoo_bench.data import named
    from zoo_bench.recipe import plan

    if data is not None:
        data = named(data, size=size, grey=grey or None)
    elif size is not None or grey:
        raise ZooError("--size and --grey are for your own pictures: add --data folder:PATH or --data hf:REPO")

    if not options["checkpoint_seconds"] >= 0:
        raise ZooError(f"--checkpoint-seconds: expected 0 or more, got {options['checkpoint_seconds']}")
    settings = {key: value for key, value in options.items() if key in _RECIPE}
    planned = plan(name, data, changes=_pairs(changes), **settings)  # before any process is started
    _launched(processes)
    if planned.unrun:
        click.echo(f"{planned.name}: this recipe is labelled unrun: nobody has trained it yet", err=True)
    from zoo_bench.trainer import Interrupted
    from zoo_bench.trainer import train as run

    arguments = [argument for argument in sys.argv[1:] if argument not in ("--resume", "--overwrite")]
    again = shlex.join(["zoo", *arguments, "--resume"])
    try:
        result = run(name, data, changes=_pairs(changes), quiet=quiet, how_to_resume=again, **options)
    except Interrupted as stopped:
        click.echo(str(stopped), err=True)
        sys.exit(130)
    rate = f"{result.images_per_second:,.0f} images/s"
    click.echo(
        f"{result.plan.name}: {result.images:,} images in {result.seconds:.1f} s ({rate}); weights in {result.weights}"
    )


@click.command()
@click.argument("name", required=False)
@click.option("--samples", type=click.Path(path_type=Path), help="Score images instead: .npz, .npy, a folder of PNG.")
@click.option("--task", help="With --samples: quick@1/digits, or a data set.")
@click.option("--name", "called", help="With --samples: what to call them.")
@click.option("--data", help="The data set, where it is not the one that the weights name.")
@click.option("--engine", default="zoo", show_default=True, help="torch-fidelity: its FD, KID, IS, PR beside ours.")
@click.option("--metrics", help="More than the task's, separated by commas: cmmd,lpips_pairs,...")
@click.option("--suite", help="The suite whose task it is, or ./FILE.toml (default: by the data set trained on).")
@click.option("--out", type=click.Path(path_type=Path), help="A folder for the card, nats per image and a sample grid.")
@click.option("--split", help="Another split than the task's, e.g. validation; the card is partial.")
@click.option("--limit", type=int, help="Only the first images and samples; the card is partial.")
@click.option("--device", help="Where to compute (default: this process's GPU, else the CPU).")
@click.option("--json", "as_json", is_flag=True, help="Print the card.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@processes
@data_dir
def evaluate(
    name: str | None,
    samples: Path | None,
    task: str | None,
    called: str | None,
    metrics: str | None,
    as_json: bool,
    quiet: bool,
    processes: int | None,
    **options: Any,
) -> None:
    """Evaluate weights NAME (made.digits, a folder, hf:org/repo), or images of any origin, and show the result card."""
    if (name is None) == (samples is None) or (samples is None) != (task is None):
        raise ZooError("give weights, zoo evaluate NAME, or images, zoo evaluate --samples FILE --task SUITE/TASK")
    if samples is not None and (wrong := [key for key in _OF_WEIGHTS if options[key] is not None]):
        raise ZooError(f"--{wrong[0]} is for weights, not for --samples")
    from zoo_bench.evaluation import asked_for
    from zoo_bench.evaluation import evaluate as run
    from zoo_bench.progress import bars
    from zoo_bench.samples_evaluation import evaluate_samples

    asked = [name.strip() for name in metrics.split(",") if name.strip()] if metrics else []
    options["metrics"] = asked_for(asked)  # before any process is started
    _launched(processes)
    with bars(quiet or as_json) as bar:
        if samples is not None:
            given = {key: options[key] for key in ("data_dir", "out", "engine", "metrics")}
            card = evaluate_samples(samples, str(task), name=called, **given)
            name = card["model"]["name"]
        else:
            card = run(str(name), bar=bar, **options)
    if as_json:
        click.echo(json.dumps(card, indent=2))
        return
    partial = ", partial: never in a table" if card["partial"] else ""
    click.echo(f"{name} on {card['task']['id']}, split {card['data']['split']} ({card['data']['n']} images{partial})")
    if not card["metrics"]:
        click.echo("  nothing: no metric of this task applies to it")
    names = [entry["id"] + _reference(entry) for entry in card["metrics"]]
    for named, entry in zip(names, card["metrics"]):
        click.echo(f"  {named:<{max(map(len, names))}}  {_shown(entry)}".rstrip())
    if any(entry.get("status") == "failed" for entry in card["metrics"]):
        sys.exit(1)


def _reference(entry: dict[str, Any]) -> str:
    return f" ({entry['params']['reference']})" if "reference" in entry["params"] else ""


def _shown(entry: dict[str, Any]) -> str:
    """A metric's value in a line, with what else must be known of it."""
    params, interval = entry["params"], entry["interval"]
    number = entry.get("status", "failed") if entry["value"] is None else f"{entry['value']:.4f}"
    half = f" ± {(interval['high'] - interval['low']) / 2:.4f}" if interval else ""
    notes = [params[key] for key in ("method", "reason", "warning") if key in params]
    if params.get("flag"):
        notes.append("flagged: nearer to training images than new images are")
    if "torch_fidelity" in params:
        notes.append(f"torch-fidelity: {params['torch_fidelity']:.4f}")
    return f"{entry['relation'] or ' '} {number}{half} {entry['unit']}" + "".join(f"  [{note}]" for note in notes)


_OF_WEIGHTS = ("data", "suite", "split", "limit", "device")


@click.command()
@click.argument("suite", default="quick")
@click.option("--models", help="Globs of models instead of the suite's default, e.g. '*' or 'made,vae'.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder (default: runs/SUITE).")
@click.option("--pretrained", is_flag=True, help="Use published weights instead of training.")
@click.option("--again", is_flag=True, help="Compute anew what is there already.")
@click.option("--seeds", type=int, help="How many sampling seeds; a card for each.")
@click.option(
    "--budget",
    "--images",
    "images",
    type=int,
    help="Images a training sees, instead of the recipes' number; the cards are partial.",
)
@click.option("--quiet", is_flag=True, help="No progress bars.")
@processes
@data_dir
def bench(suite: str, images: int | None, quiet: bool, processes: int | None, **options: Any) -> None:
    """Run SUITE (quick), or one task of it (small/fashion): train, evaluate, write cards, print the table.

    Resumes where it stopped.
    """
    from zoo_bench.suites import load

    load(suite)  # before any process is started
    _launched(processes)
    from zoo_bench import cards, htmlreport
    from zoo_bench.benchmark import bench as run
    from zoo_bench.processes import is_main
    from zoo_bench.reporting import report as tables

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
        click.echo(f"{where}; go on with: {again}", err=True)
        sys.exit(130)
    if not is_main():
        sys.exit(1 if result.failed else 0)
    folder = result.folder / "cards"
    click.echo(tables([folder], form="terminal"))
    for form, suffix in (("markdown", "md"), ("csv", "csv")):
        (result.folder / f"report.{suffix}").write_text(tables([folder], form=form))  # type: ignore[arg-type]
    htmlreport.write(cards.read_all([folder]), result.folder / "report.html", [folder])
    for name, reason in result.missing.items():
        click.echo(f"not run: {name} ({reason})", err=True)
    click.echo(f"cards, grids and report in {result.folder}")
    if result.failed:
        sys.exit(1)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["terminal", "markdown", "csv", "html"]), default="terminal")
@click.option("--out", type=click.Path(path_type=Path), help="Write to a file instead of printing.")
@click.option("--update", multiple=True, type=click.Path(path_type=Path), help="Fill a Markdown file's result blocks.")
@click.option("--model-cards", type=click.Path(path_type=Path), help="Write a model card for each set of weights here.")
def report(
    paths: tuple[Path, ...], form: str, out: Path | None, update: tuple[Path, ...], model_cards: Path | None
) -> None:
    """Make tables of the result cards in PATHS (default: runs)."""
    from zoo_bench import cards, modelcards, reporting
    from zoo_core.sampling import atomic

    chosen = list(paths) or [Path("runs")]
    if out is not None and out.exists() and not out.is_file():
        raise ZooError(f"--out {out}: expected a file to write, and that is {'a folder' if out.is_dir() else 'none'}")
    if update or model_cards:
        found = cards.read_all(chosen)
        stale = modelcards.update(model_cards, found) if model_cards else []
        for name in stale:
            click.echo(f"{model_cards}/{name}.md: updated")
        for path in update:
            changed = not reporting.fill_blocks(path, found)
            click.echo(f"{path}: {'updated' if changed else 'up to date'}")
        return
    if form == "html":
        from zoo_bench import htmlreport

        click.echo(f"report in {htmlreport.write(cards.read_all(chosen), out or Path('report.html'), chosen)}")
        return
    text = reporting.report(chosen, form=form)  # type: ignore[arg-type]
    if out is None:
        click.echo(text)
        return
    with atomic(out) as temporary:
        temporary.write_text(text)
    click.echo(f"report in {out}")


@click.command("data")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def data_(as_json: bool) -> None:
    """List data sets: those that plugins offer, and how to name your own."""
    specs = registry.datasets.all()
    if as_json:
        facts = [{**dataclasses.asdict(spec), "images": spec.images.to_dict()} for spec in specs]
        click.echo(json.dumps(facts, indent=2))
        return
    for spec in specs:
        click.echo(f"{spec.name:<17} {spec.images!s:<31} {spec.summary} ({spec.licence})")
    click.echo("folder:PATH       your own pictures; --size, --grey; sub-folders are classes, .txt files captions")
    click.echo("hf:REPO           a data set of the Hugging Face Hub, by the library `datasets`")


COMMANDS = [train, evaluate, bench, report, compare, verify, judge, data_, new]
