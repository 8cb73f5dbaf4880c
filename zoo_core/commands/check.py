"""`zoo check`: the conformance tests."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

import click

from zoo_core import registry
from zoo_core.commands.output import as_json

if TYPE_CHECKING:
    from zoo_core.testing import LawResult


@click.command()
@click.argument("name")
@click.option("--slow", is_flag=True, help="Run every test on every image size it applies to (minutes).")
@click.option("--device", default="cpu", show_default=True)
@as_json
def check(name: str, slow: bool, device: str, as_json: bool) -> None:
    """Run the conformance tests on model NAME; exit status 1 if it breaks a law."""
    from zoo_core import testing

    spec = registry.spec(name)

    def report(result: LawResult) -> None:
        if not as_json:
            why = f": {result.message}" if result.message else ""
            click.echo(f"law {result.number:>2}  {result.status:<14}  {result.name}{why}")

    results = testing.check(spec, slow=slow, device=device, report=report)
    broken = [result for result in results if result.status == "broken"]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(result) for result in results], indent=2))
    else:
        failed = f"fails {len(broken)} of {len(results)} conformance tests"
        verdict = failed if broken else "passes every conformance test that applies to it"
        click.echo(f"{spec.name} {verdict}", err=bool(broken))
    sys.exit(1 if broken else 0)
