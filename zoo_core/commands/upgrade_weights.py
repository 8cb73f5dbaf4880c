"""Weights of format 1 get the header of format 2: `python -m zoo_core.commands.upgrade_weights FOLDER...`

Their tensors stay as they are, bit for bit, and their sha256 changes: it is printed, to be pinned anew.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from zoo_core.errors import WeightsError, ZooError


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
def main(folders: tuple[Path, ...]) -> None:
    """Write how the weights in FOLDERS were trained into their file, where its sha256 pins it."""
    failed = False
    for folder in folders:
        try:
            before, now = upgrade(folder)
            click.echo(f"{now}  {folder}  ({'as it was' if now == before else f'before: {before}'})")
        except ZooError as error:
            failed = True
            click.echo(f"Error: {error}", err=True)
    sys.exit(failed)


def upgrade(folder: Path) -> tuple[str, str]:
    """The sha256 of a folder's weights before and after; on any error nothing in it has changed.

    The new file is first written elsewhere and read again: it must hold the tensors that the old one holds.
    """
    from zoo_core import weights

    stated = weights.read_config(folder)
    before = stated["sha256"]
    weights.check_sha256(folder / weights.TENSORS, before, str(folder))
    if stated["format"] == weights.FORMAT:
        return before, before
    if others := sorted({path.name for path in folder.iterdir()} - {weights.CONFIG, weights.TENSORS}):
        raise WeightsError(f"{folder}: it also holds {', '.join(others)}, which would be lost; move it away first")
    known = {"format": weights.FORMAT, "zoo": stated.get("zoo", "?"), "training": stated.get("training", {})}
    known |= {key: stated[key] for key in weights.IDENTITY}
    tensors = weights.tensors_of(folder)
    with tempfile.TemporaryDirectory() as temporary:
        tried = weights.write(Path(temporary) / "weights", tensors, known)
        same = weights.content_sha256(tried) == weights.content_sha256(folder)
        if not same or weights.read_config(tried)["training"] != known["training"]:
            raise WeightsError(f"{folder}: a copy of it comes out differently; nothing was changed")
    weights.write(folder, tensors, known)
    return before, str(weights.read_config(folder)["sha256"])


if __name__ == "__main__":
    main()
