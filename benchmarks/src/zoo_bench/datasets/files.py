"""Where the files of data sets lie: `--data-dir` or `ZOO_DATA`, the cache, a system folder; last, they are fetched."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from zoo_core.errors import ZooError
from zoo_core.files import atomic

_may_fetch = ContextVar("may_fetch", default=True)


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """Inside, a file that lies nowhere on this machine is an error."""
    before = _may_fetch.set(False)
    try:
        yield
    finally:
        _may_fetch.reset(before)


def cache() -> Path:
    """`ZOO_CACHE`, or `zoo` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ZOO_CACHE") or Path(home) / "zoo")


def roots(data_dir: Path | None) -> list[Path]:
    """The folders that data sets are looked for in, in this order."""
    if data_dir is not None and not data_dir.is_dir():
        raise ZooError(f"data folder {data_dir} does not exist (from --data-dir or ZOO_DATA)")
    own = [data_dir] if data_dir else []
    return [*own, cache() / "data", Path("/usr/share/datasets"), Path("/usr/local/share/datasets")]


def find(names: Iterable[str], folders: Iterable[str], data_dir: Path | None) -> Path | None:
    """The first file (or folder) of one of these names in one of these folders below one of the roots."""
    names, folders = list(names), list(folders)
    for root in roots(data_dir):
        for folder in folders:
            for name in names:
                if (path := root / folder / name).exists():
                    return path
    return None


def fetch(url: str, path: Path, right: Callable[[bytes], bool], *, what: str, advice: str, timeout: float = 30) -> Path:
    """Fetch `url` into `path` if its content is `right`; the error says that `what` is nowhere, and gives `advice`."""
    if not _may_fetch.get():
        raise ZooError(f"{what} is not here; {advice}")
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            content = response.read()
        if not right(content):
            raise ZooError(f"{url} does not serve {what} any more; put the file into {path.parent}")
    except (urllib.error.URLError, http.client.HTTPException, OSError, EOFError, zlib.error) as error:
        raise ZooError(f"{what} is not here, and {url} cannot be read ({error}); {advice}") from error
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return path


def places(data_dir: Path | None) -> str:
    """The roots, for a message."""
    return ", ".join(str(root) for root in roots(data_dir))
