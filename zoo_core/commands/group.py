"""The group behind `zoo`: it asks plugins for their commands, and speaks to people in whole words and clear lines."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import click

from zoo_core.commands.openmp import spin_briefly
from zoo_core.errors import ZooError
from zoo_core.plugins import plugins

_HYPHEN = "\N{NON-BREAKING HYPHEN}"


class WholeWords(click.HelpFormatter):
    """Help that is never broken inside `--micro-batch`, as click's own may be: there, a line may end in any hyphen."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args.replace("-", _HYPHEN), prefix)

    def write_text(self, text: str) -> None:
        super().write_text(text.replace("-", _HYPHEN))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl([(name, text.replace("-", _HYPHEN)) for name, text in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        return super().getvalue().replace(_HYPHEN, "-")


class Context(click.Context):
    """The context of every command, of the plugins' too."""

    formatter_class = WholeWords


class Zoo(click.Group):
    """A group that asks plugins for their commands, and turns errors of users into one clear line."""

    context_class = Context
    _extended = False

    def main(self, *args: Any, **options: Any) -> Any:
        spin_briefly()
        return super().main(*args, **options)

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
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            command.context_class = Context
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each command's first sentence, whole: click's own list cuts it to the line."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, command.get_short_help_str(limit=1000)) for name, command in found if command]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

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
