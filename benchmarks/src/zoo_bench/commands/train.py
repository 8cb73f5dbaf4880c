"""`zoo train NAME`: by recipe, on any number of processes; Ctrl-C stops, --resume goes on."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from zoo_bench.commands.options import data_dir, launched, pairs_of, processes
from zoo_core.errors import ZooError

_RECIPE = ("images", "batch", "micro_batch", "lr", "schedule", "warmup", "ema", "ema_ramp", "clip", "precision", "seed")


@click.command()
@click.argument("name")
@click.option("--data", help="The data set (default: the recipe's): digits, folder:PATH, hf:REPO, ...")
@click.option("--size", type=click.IntRange(1), help="Crop and resize the images of folder: or hf: to SIZE x SIZE.")
@click.option("--grey", is_flag=True, help="Convert the images of folder: or hf: to greyscale.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder (default: runs/MODEL.DATA).")
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option("--overwrite", is_flag=True, help="Replace the run in --out.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the model's config (unet.width=96).")
@click.option(
    "--init",
    multiple=True,
    metavar="PART=WEIGHTS",
    help="Start a part of the model from weights trained before (first_stage=vqvae_codes.digits, or a folder).",
)
@click.option("--images", type=int, help="Budget: images seen.")
@click.option("--batch", type=int, help="Images per step.")
@click.option("--micro-batch", type=int, help="Maximum images per forward pass; gradients are accumulated.")
@click.option("--lr", type=float, help="Learning rate.")
@click.option("--schedule", type=click.Choice(["constant", "cosine"]))
@click.option("--warmup", type=int, help="Images seen while the learning rate warms up.")
@click.option("--ema", type=int, help="Half-life of the weights' EMA, in images seen; 0 for no EMA.")
@click.option("--ema-ramp", type=float, help="Maximum EMA half-life as a share of images seen; 0 for no ramp.")
@click.option("--clip", type=float, help="Maximum gradient norm; 0 for no clipping.")
@click.option("--precision", type=click.Choice(["no", "bf16", "fp16"]), help="Mixed precision.")
@click.option("--seed", type=int)
@click.option("--tracker", "trackers", multiple=True, help="tensorboard, wandb, ... (any that Accelerate knows).")
@click.option(
    "--grids", type=click.IntRange(0), default=8, show_default=True, help="Maximum sample grids on the way; 0 for none."
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
    init: tuple[str, ...],
    quiet: bool,
    processes: int | None,
    **options: Any,
) -> None:
    """Train NAME: a recipe (made.digits), a model (made, with --data), or a recipe file (./my.toml)."""
    from zoo_bench.datasets.load import named
    from zoo_bench.training.recipe import plan

    if data is not None:
        data = named(data, size=size, grey=grey or None)
    elif size is not None or grey:
        raise ZooError("--size and --grey are for your own images: add --data folder:PATH or --data hf:REPO")

    if not options["checkpoint_seconds"] >= 0:
        raise ZooError(f"--checkpoint-seconds: expected 0 or more, got {options['checkpoint_seconds']}")
    settings = {key: value for key, value in options.items() if key in _RECIPE}
    options["init"] = settings["init"] = pairs_of(init, "--init", "first_stage=vqvae_codes.digits")
    planned = plan(name, data, changes=pairs_of(changes), **settings)  # before any process is started
    launched(processes)
    if planned.unrun:
        click.echo(f"{planned.name}: this recipe is marked unrun: it has not been trained yet", err=True)
    from zoo_bench.training.interruption import Interrupted
    from zoo_bench.training.trainer import train as run

    arguments = [argument for argument in sys.argv[1:] if argument not in ("--resume", "--overwrite")]
    again = shlex.join(["zoo", *arguments, "--resume"])
    try:
        result = run(name, data, changes=pairs_of(changes), quiet=quiet, how_to_resume=again, **options)
    except Interrupted as stopped:
        click.echo(str(stopped), err=True)
        sys.exit(130)
    rate = f"{result.images_per_second:,.0f} images/s"
    click.echo(
        f"{result.plan.name}: {result.images:,} images in {result.seconds:.1f} s ({rate}); weights in {result.weights}"
    )
