"""The `zoo` command: list, show, plugins, sample, check, new, and what plugins add. No torch until it is needed."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import sys
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
                    self.commands.update(before)
                    before = dict(self.commands)
            except ZooError as error:  # also met by --help, which no command's own handling sees
                raise click.ClickException(str(error)) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._extend()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is None:
            self._extend()
            command = super().get_command(ctx, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
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
        raise click.ClickException(
            f"no model matches {pattern!r}; `zoo list` shows all, `zoo plugins` what is installed"
        )
    else:
        rows: list[tuple[str, ...]] = [("MODEL", "FAMILY", "LIKELIHOOD", "WEIGHTS", "SUMMARY")]
        for name, spec in zip(names, specs):
            tags = "" if pretrained else " ".join(entry.tag for entry in spec.pretrained)
            rows.append((name, spec.family, spec.likelihood, tags, spec.summary))
        if pretrained:
            rows = [(*row[:3], row[4]) for row in rows]
        _table(rows)
    _warn()


def _summary(spec: ModelSpec) -> dict[str, Any]:
    return {
        "family": spec.family,
        "summary": spec.summary,
        "likelihood": spec.likelihood,
        "conditioning": spec.conditioning,
        "pretrained": [entry.tag for entry in spec.pretrained],
        "paper": dataclasses.asdict(spec.paper),
    }


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _warn() -> None:
    for name, owners in registry.models.conflicts().items():
        who = ", ".join(plugin.distribution for plugin in owners)
        click.echo(f"warning: model {name!r} is offered by {who}; choose with ZOO_PLUGINS", err=True)
    for plugin in plugins().found:
        if plugin.error:
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
    known = {
        "name": spec.name,
        **_summary(spec),
        "plugin": f"{plugin.distribution} {plugin.version}",
        "target": spec.target,
        "config": config,
        "pretrained": [dataclasses.asdict(entry) | {"name": f"{spec.name}.{entry.tag}"} for entry in entries],
    }
    if as_json:
        click.echo(json.dumps(known, indent=2))
        return
    click.echo(f"{spec.name}: {spec.summary}")
    paper = spec.paper
    click.echo(f"paper       {paper.authors} ({paper.year}). {paper.title}. {paper.url}")
    click.echo(f"family      {spec.family} ({known['plugin']})")
    click.echo(f"likelihood  {spec.likelihood}; conditioning: {spec.conditioning}")
    click.echo(f"class       {spec.target}")
    click.echo("config")
    for key, value in config.items():
        click.echo(f"  {key} = {json.dumps(value)}")
    for entry in entries:
        click.echo(f"weights     {spec.name}.{entry.tag}  {entry.source}  {entry.licence}  sha256 {entry.sha256[:16]}…")
    if not spec.pretrained:
        click.echo(f"weights     none published; train some with: zoo train {spec.name}")


@main.command("plugins")
@as_json
def plugins_(as_json: bool) -> None:
    """Show installed plugins, and why one is not in use."""
    registry.models.offers()
    for hook in ("datasets", "extractors", "metrics"):
        getattr(registry, hook).offers()
    counts: dict[str, int] = {}
    for owners in registry.models.offers().values():
        for plugin, _ in owners:
            counts[plugin.name] = counts.get(plugin.name, 0) + 1
    found = plugins().found
    if as_json:
        entries = [dataclasses.asdict(plugin) | {"models": counts.get(plugin.name, 0)} for plugin in found]
        click.echo(json.dumps(entries, indent=2))
        return
    rows: list[tuple[str, ...]] = [("PLUGIN", "DISTRIBUTION", "VERSION", "MODELS", "STATUS")]
    for plugin in found:
        status = plugin.error or "ok"
        rows.append((plugin.name, plugin.distribution, plugin.version, str(counts.get(plugin.name, 0)), status))
    _table(rows)


@main.command()
@click.argument("name")
@click.option("-n", default=64, show_default=True, help="How many images.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", default="samples.png", show_default=True, help="A grid (.png) or arrays (.npz).")
@click.option("--device", default="cpu", show_default=True)
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="A sampling option, e.g. temperature=0.9.")
@click.option("--label", "labels", type=int, multiple=True, help="Of this class; several take turns.")
@click.option("--text", multiple=True, help="Of what this says; several take turns.")
def sample(name: str, n: int, seed: int, out: str, device: str, options: tuple[str, ...], **given: Any) -> None:
    """Draw images from weights NAME (made.digits, a folder, hf:org/repo) and write them to a file.

    A conditional model without --label or --text draws conditions as often as it met them in training.
    """
    import torch

    from zoo_core import sampling

    if n < 1:
        raise ZooError(f"expected -n of at least 1, got {n}")
    path = sampling.writable(out)
    model = registry.load(name, device=device)
    keywords: dict[str, Any] = dict(_option(text) for text in options)
    allowed = set(inspect.signature(type(model).sample).parameters) - _SAMPLE_ARGUMENTS
    for key in keywords:
        if key not in allowed:
            raise unknown(f"sampling option of {name}", key, allowed)
    condition: dict[str, Any] = {
        key: [values[i % len(values)] for i in range(n)] for key, values in given.items() if values
    }
    if "labels" in condition:
        condition["labels"] = torch.tensor(condition["labels"])
    model.check_request(n, **condition)
    with click.progressbar(length=n, label=f"sampling {name}", file=sys.stderr) as bar:
        images = sampling.draw(model, n, seed=seed, progress=bar.update, **keywords, **condition)
    sampling.write(path, images, model.images, model=name, seed=seed, **condition)
    click.echo(f"{n} images of {model.images} in {path}")


_SAMPLE_ARGUMENTS = {"self", "n", "labels", "text", "generator", "options"}


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ZooError(f"--set {text}: expected KEY=VALUE")
    try:
        return key, float(value) if "." in value else int(value)
    except ValueError:
        raise ZooError(f"--set {text}: expected a number behind '=', got {value!r}") from None


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
            line = f"law {result.number:>2}  {result.status:<14}  {result.name}"
            click.echo(f"{line}: {result.message}" if result.message else line)

    results = testing.check(spec, slow=slow, device=device, report=report)
    broken = [result for result in results if result.status == "broken"]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(result) for result in results], indent=2))
    elif not broken:
        click.echo(f"{spec.name} keeps every law that applies to it")
    if broken:
        if not as_json:
            click.echo(f"{spec.name} breaks {len(broken)} of {len(results)} laws", err=True)
        sys.exit(1)


@main.command()
@click.argument("name")
@click.option("--model", help="The name of its first model (default: NAME).")
@click.option("--out", metavar="DIR", help="Where to make it (default: plugins/ in a checkout of zoo, else here).")
def new(name: str, model: str | None, out: str | None) -> None:
    """Write a plugin, the folder zoo-NAME, with a small model that keeps every law: the start of a family."""
    from zoo_core import scaffold

    click.echo(scaffold.new(name, model=model, out=out), nl=False)
