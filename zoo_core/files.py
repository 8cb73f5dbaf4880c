"""Files and folders that are there whole or not at all, and their sha256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary sibling that becomes `path` when the block ends well; on any error nothing is left of it.

    The block writes a file there, or makes a folder of files, which takes the place of the folder that `path` is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        yield temporary
        for file in temporary.iterdir() if temporary.is_dir() else [temporary]:
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if temporary.is_dir() and path.is_dir():
            _exchange(temporary, path)
        else:
            temporary.replace(path)
    except BaseException as error:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # not the temporary file's name, or none at all
        raise


def _exchange(new: Path, path: Path) -> None:
    """Put one folder in the place of another, which is put back if that fails."""
    old = new.with_name(f"{new.name}.old")
    old.mkdir()
    path.rename(old / path.name)
    try:
        new.rename(path)
    except OSError:
        (old / path.name).rename(path)
        raise
    finally:
        shutil.rmtree(old)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
