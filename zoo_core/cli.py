"""The `zoo` command: list, show, plugins, sample, check, new, and what plugins add. No torch until it is needed."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import inspect
import json
import math
import sys
from collections import Counter
from typing import Any

import click

import zoo_core
from zoo_core import registry
from zoo_core.errors import ZooError, unknown
from zoo_core.plugins import plugins
from zoo_core.specs import ModelSpec


class Zoo(click.Group):
    """A group that asks plugins for their commands, and turns errors of users into one clear line."""

    _extended = False

    def _extend(self) -> None:
        if not self._extended:
            self._extended = True
            try:
                before = dict(self.commands)
                for plugin, _ in plugins().call("zoo_commands", cli=self):
                    for name in [name for name in before if self.commands[name] is not before[name]]:
                        plugin.error = f"command {name!r} is already there; the other commands of the plugin are in use"
                        click.echo(f"warning: plugin {plugin.name!r}: {plugin.error}", err=True)
                    self.commands, before = {**self.commands, **before}, {**self.commands, **before}
            except ZooError as error:  # also met by --help, which no command's own handling sees
                raise click.ClickException(str(error)) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._extend()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands:
            self._extend()
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=2)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"{error.message}{hint}", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ZooError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:  # `zoo list | head`: click ends quietly
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}") from error


@click.group(cls=Zoo, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(zoo_core.__version__, prog_name="zoo")
def main() -> None:
    """Deep generative models of images: train, load, sample and score every family the same way."""


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@main.command("list")
@click.argument("pattern", default="*")
@click.option("--pretrained", is_flag=True, help="List weights (made.digits) instead of models.")
@as_json
def list_(pattern: str, pretrained: bool, as_json: bool) -> None:
    """List models whose name matches PATTERN (a glob)."""
    names = registry.list_models(pattern, pretrained=pretrained)
    specs = [registry.models.get(name.partition(".")[0]) for name in names]
    if as_json:
        click.echo(json.dumps([{"name": name, **_summary(spec)} for name, spec in zip(names, specs)], indent=2))
    elif not names:
        raise ZooError(f"no model matches {pattern!r}; `zoo list` shows all, `zoo plugins` what is installed")
    else:
        tags = [() if pretrained else (" ".join(entry.tag for entry in spec.pretrained),) for spec in specs]
        head = ("MODEL", "FAMILY", "LIKELIHOOD", *(() if pretrained else ("WEIGHTS",)), "SUMMARY")
        _table(head, *((n, s.family, s.likelihood, *t, s.summary) for n, s, t in zip(names, specs, tags)))
    _warn()


def _summary(spec: ModelSpec) -> dict[str, Any]:
    known = {key: getattr(spec, key) for key in ("family", "summary", "likelihood", "conditioning")}
    tags = [entry.tag for entry in spec.pretrained]
    return known | {"pretrained": tags, "paper": dataclasses.asdict(spec.paper)}


def _table(*rows: tuple[str, ...]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _warn() -> None:
    for name, owners in registry.models.conflicts().items():
        who = ", ".join(plugin.distribution for plugin in owners)
        click.echo(f"warning: model {name!r} is offered by {who}; choose with ZOO_PLUGINS", err=True)
    for plugin in (plugin for plugin in plugins().found if plugin.error):
        click.echo(f"warning: plugin {plugin.name!r} is not in use: {plugin.error}", err=True)


@main.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show what is known about model NAME, or about the weights NAME (made.digits): paper, config, weights."""
    spec = registry.spec(name)
    config, entries = spec.config.to_dict(), spec.pretrained
    if "." in name:
        entries = (registry.find_pretrained(spec, name.partition(".")[2]),)
        config = registry.packaged_config(spec, entries[0]) or config
    plugin, _ = registry.models.lookup(spec.name)
    weights = [dataclasses.asdict(entry) | {"name": f"{spec.name}.{entry.tag}"} for entry in entries]
    known = {"name": spec.name, **_summary(spec), "plugin": f"{plugin.distribution} {plugin.version}"}
    known |= {"target": spec.target, "config": config, "pretrained": weights}
    if as_json:
        click.echo(json.dumps(known, indent=2))
        return
    click.echo(f"{spec.name}: {spec.summary}")
    click.echo(f"paper       {spec.paper.authors} ({spec.paper.year}). {spec.paper.title}. {spec.paper.url}")
    click.echo(f"family      {spec.family} ({known['plugin']})")
    click.echo(f"likelihood  {spec.likelihood}; conditioning: {spec.conditioning}\nclass       {spec.target}")
    click.echo("\n".join(["config", *(f"  {key} = {json.dumps(value)}" for key, value in config.items())]))
    lines = [f"{spec.name}.{e.tag}  {e.source}  {e.licence}  sha256 {e.sha256[:16]}…" for e in entries]
    for line in lines or [f"none published; train some with: zoo train {spec.name}"]:
        click.echo(f"weights     {line}")


@main.command("plugins")
@as_json
def plugins_(as_json: bool) -> None:
    """Show installed plugins, and why one is not in use."""
    for hook in ("models", "datasets", "extractors", "metrics"):
        getattr(registry, hook).offers()
    counts = Counter(plugin.name for owners in registry.models.offers().values() for plugin, _ in owners)
    entries = [dataclasses.asdict(plugin) | {"models": counts[plugin.name]} for plugin in plugins().found]
    if as_json:
        click.echo(json.dumps(entries, indent=2))
    else:
        rows = ((e["name"], e["distribution"], e["version"], str(e["models"]), e["error"] or "ok") for e in entries)
        _table(("PLUGIN", "DISTRIBUTION", "VERSION", "MODELS", "STATUS"), *rows)


@main.command()
@click.argument("name")
@click.option("-n", default=64, show_default=True, help="How many images.")
@click.option("--seed", type=click.IntRange(-(2**63), 2**64 - 1), default=0, show_default=True, help="Of 64 bits.")
@click.option("--out", default="samples.png", show_default=True, help="A grid (.png) or arrays (.npz, .npy).")
@click.option("--device", default="cpu", show_default=True)
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="A sampling option, e.g. temperature=0.9.")
@click.option("--label", "labels", type=click.IntRange(-1, 10**6), multiple=True, help="A class, or several in turn.")
@click.option("--text", multiple=True, help="A caption, or several in turn.")
def sample(name: str, n: int, seed: int, out: str, device: str, options: tuple[str, ...], **given: Any) -> None:
    """Draw images from weights NAME (made.digits, a folder, hf:org/repo) and write them to a file.

    A conditional model without --label or --text draws conditions as often as it met them in training. Arrays of many
    images are drawn in parts that are kept: if it is interrupted, the same command goes on.
    """
    import torch

    from zoo_core import chunks, sampling, weights

    path = sampling.writable(out)
    folder, pinned, expected = registry.find_weights(name)
    model = weights.load_folder(folder, device=device, sha256=pinned, origin=name, expected=expected)
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
            sampling.draw_to(path, model, request, bar.update, **condition)
    except KeyboardInterrupt:
        on = "goes on" if sampling.shards(path).exists() else "starts again"
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


@main.command()
@click.argument("name")
@click.option("--slow", is_flag=True, help="Every law on every image size it applies to (minutes).")
@click.option("--device", default="cpu", show_default=True)
@as_json
def check(name: str, slow: bool, device: str, as_json: bool) -> None:
    """Hold model NAME to the laws of the zoo; exit status 1 if one is broken."""
    from zoo_core import testing

    spec = registry.spec(name)

    def report(result: testing.LawResult) -> None:
        if not as_json:
            why = f": {result.message}" if result.message else ""
            click.echo(f"law {result.number:>2}  {result.status:<14}  {result.name}{why}")

    results = testing.check(spec, slow=slow, device=device, report=report)
    broken = [result for result in results if result.status == "broken"]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(result) for result in results], indent=2))
    else:
        said = f"breaks {len(broken)} of {len(results)} laws" if broken else "keeps every law that applies to it"
        click.echo(f"{spec.name} {said}", err=bool(broken))
    sys.exit(1 if broken else 0)
