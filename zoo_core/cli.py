"""The `zoo` command: those of `commands/`, and what plugins add. No torch until it is needed."""

from __future__ import annotations

import click

from zoo_core.commands.check import check
from zoo_core.commands.group import Zoo
from zoo_core.commands.list import list_
from zoo_core.commands.plugins import plugins_
from zoo_core.commands.sample import sample
from zoo_core.commands.show import show
from zoo_core.version import __version__


@click.group(cls=Zoo, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zoo")
def main() -> None:
    """Deep generative models of images: train, load, sample and score every family the same way."""


for _command in (list_, show, plugins_, sample, check):
    main.add_command(_command)
