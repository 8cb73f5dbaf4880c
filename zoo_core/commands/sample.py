"""`zoo sample`: images from weights, into a file."""

from __future__ import annotations

import contextlib
import inspect
import math
import sys
from typing import Any

import click

from zoo_core.errors import ZooError, unknown


@click.command()
@click.argument("name")
@click.option("-n", default=64, show_default=True, help="How many images.")
@click.option("--seed", type=click.IntRange(-(2**63), 2**64 - 1), default=0, show_default=True, help="64-bit integer.")
@click.option("--out", default="samples.png", show_default=True, help="A grid (.png) or arrays (.npz, .npy).")
@click.option("--device", default="cpu", show_default=True)
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="A sampling option, e.g. temperature=0.9.")
@click.option("--label", "labels", type=click.IntRange(-1, 10**6), multiple=True, help="A class; repeat it for more.")
@click.option("--text", multiple=True, help="A caption; repeat it for more.")
def sample(name: str, n: int, seed: int, out: str, device: str, options: tuple[str, ...], **given: Any) -> None:
    """Draw images from weights NAME (made.digits, a folder, hf:org/repo) and write them to a file.

    Without --label or --text, a conditional model samples labels or captions by their training frequency. The first
    images of a seed are the same for every -n. Arrays of many images are saved in parts: if the command is interrupted,
    the same command continues.
    """
    import torch

    from zoo_core import chunks, pretrained, registry, weights
    from zoo_core.commands import sample_files
    from zoo_core.model import GenerativeModel

    path = sample_files.writable(out)
    folder, pinned, expected = pretrained.find(name)
    model = weights.load_folder(folder, device=device, sha256=pinned, origin=name, expected=expected)
    if not isinstance(model, GenerativeModel):
        kind = registry.spec(weights.read_config(folder, name)["model"]).kind
        raise ZooError(f"{name} is of kind {kind!r} and draws no images; `zoo list` shows the models that do")
    keywords: dict[str, Any] = dict(_option(text) for text in options)
    allowed = inspect.signature(model.sample).parameters.keys() - {"n", "labels", "text", "generator", "options"}
    for key in sorted(keywords.keys() - allowed):
        if not allowed:
            raise ZooError(f"{name} takes no sampling options; leave out --set {key}=…")
        raise unknown(f"sampling option of {name}", key, allowed)
    asked = {key: list(values) for key, values in given.items() if values}
    for key in (key for key, values in asked.items() if len(values) > n):
        raise ZooError(f"{len(asked[key])} {key.rstrip('s')}s for {n} images; raise -n")
    condition: dict[str, Any] = {key: [values[i % len(values)] for i in range(n)] for key, values in asked.items()}
    condition |= {"labels": torch.tensor(condition["labels"])} if "labels" in condition else {}
    model.check_request(n, **condition)
    request = {"model": name, "weights": weights.read_config(folder, name)["sha256"], "n": n, "seed": seed, **asked}
    request |= {"options": keywords, "chunk": chunks.CHUNK, "device": model.device.type}
    replaced = ", which was there before and is replaced" if path.exists() else ""
    try:
        with click.progressbar(length=n, label=f"sampling {name}", file=sys.stderr) as bar:
            sample_files.draw_to(path, model, request, bar.update, **condition)
    except KeyboardInterrupt:
        on = "continues" if sample_files.shards(path).exists() else "starts again"
        click.echo(f"stopped; the same command {on}", err=True)
        sys.exit(130)
    click.echo(f"{n} images of {model.images} in {path}{replaced}")


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    for kind in (int, float):
        with contextlib.suppress(ValueError, OverflowError):
            if math.isfinite(number := kind(value)):
                return key, number
    expected = f"a number behind '=', got {value!r}" if equals else "KEY=VALUE"
    raise ZooError(f"--set {text}: expected {expected}")
