"""Find plugins through the entry points of group `zoo`, one by one, so that a broken one costs nobody else anything.

pluggy's own `load_setuptools_entrypoints` stops at the first plugin that fails to import, and a hook call at the first
implementation that raises; here each failure is kept with its reason and shown by `zoo plugins`.
`ZOO_PLUGINS=gan,flow` restricts which plugins load (entry-point names); the harness, `bench`, always loads.
"""

from __future__ import annotations

import collections
import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pluggy

from zoo_core import hooks
from zoo_core.errors import ZooError, unknown
from zoo_core.version import __version__

HARNESS = "bench"


@dataclass
class Plugin:
    """One installed plugin: entry-point name, distribution and version; `error` says why it is not in use."""

    name: str
    distribution: str
    version: str
    error: str | None = None


class Plugins:
    """The plugins of this process. `collect(hook)` asks each, guarded."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hooks.GROUP)
        self._manager.add_hookspecs(hooks)
        self.found: list[Plugin] = []

    def load_entry_points(self) -> None:
        """Load every entry point that `ZOO_PLUGINS` allows."""
        points = sorted(metadata.entry_points(group=hooks.GROUP), key=lambda point: (point.name, point.value))
        wanted = {name.strip() for name in os.environ.get("ZOO_PLUGINS", "").split(",") if name.strip()}
        names = [point.name for point in points]
        for name in sorted(wanted.difference(names)):
            raise unknown("plugin", name, names, " (in the environment variable ZOO_PLUGINS)")
        facts = {point: _facts(point) for point in points}
        owners = collections.defaultdict(set)
        for point in points:
            owners[point.name].add(facts[point]["Name"][0])
        for point in points:
            if wanted and point.name not in wanted | {HARNESS}:
                continue
            plugin = Plugin(point.name, facts[point]["Name"][0], facts[point]["Version"][0])
            plugin.error = _incompatible(facts[point].get("Requires-Dist", []))
            if len(owners[point.name]) > 1:
                both = " and ".join(sorted(owners[point.name]))
                plugin.error = f"entry point {point.name!r} is claimed by {both}; uninstall one of them"
            try:
                package = None if plugin.error else point.load()
            except (Exception, SystemExit) as error:
                plugin.error = f"import failed: {type(error).__name__}: {error}"
            if plugin.error:
                self.found.append(plugin)
            else:
                self.register(package, plugin)

    def register(self, package: object, plugin: Plugin) -> Plugin:
        """Add one plugin object (a module, or anything with hook implementations); errors are kept, not raised."""
        self.found.append(plugin)
        try:
            self._manager.register(package, name=plugin.name)
            self._manager.check_pending()
            if not self._manager.get_hookcallers(package):
                plugin.error = "implements no zoo hook (mark them with zoo_core.hookimpl)"
        except (pluggy.PluginValidationError, ValueError) as error:
            plugin.error = " ".join(str(error).split())
            if self._manager.is_registered(package):
                self._manager.unregister(package)
        return plugin

    def call(self, hook: str, **arguments: Any) -> Iterator[tuple[Plugin, Any]]:
        """Each plugin's answer to `hook`; one that raises is marked broken and skipped."""
        by_name = {plugin.name: plugin for plugin in self.found if not plugin.error}
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            plugin = by_name.get(implementation.plugin_name)
            if plugin is None:
                continue
            try:
                answer = implementation.function(*(arguments[name] for name in implementation.argnames))
                items = [] if answer is None else list(answer)
            except (Exception, SystemExit) as error:
                plugin.error = f"hook {hook} failed: {type(error).__name__}: {error}"
                continue
            yield plugin, items

    def collect(self, hook: str, kind: type) -> list[tuple[Plugin, Any]]:
        """What all plugins offer through `hook`, each item with its plugin; items of another type break the plugin."""
        offered = []
        for plugin, items in self.call(hook):
            strangers = [item for item in items if not isinstance(item, kind)]
            if strangers:
                plugin.error = f"hook {hook} returned {type(strangers[0]).__name__} where {kind.__name__} was expected"
            else:
                offered += [(plugin, item) for item in items]
        return offered


@functools.cache
def plugins() -> Plugins:
    """The installed plugins, loaded once; `plugins.cache_clear()` looks again."""
    found = Plugins()
    found.load_entry_points()
    return found


def _facts(point: metadata.EntryPoint) -> dict[str, list[str]]:
    """The header of a distribution's METADATA; `importlib.metadata` would parse the file anew at each question."""
    text = (point.dist.read_text("METADATA") or point.dist.read_text("PKG-INFO") or "") if point.dist else ""
    facts: dict[str, list[str]] = {}
    for line in text.partition("\n\n")[0].splitlines():
        key, _, value = line.partition(": ")
        facts.setdefault(key, []).append(value)
    return {"Name": ["?"], "Version": ["?"], **facts}


def _incompatible(requirements: list[str]) -> str | None:
    """Why a plugin's declared `zoo-core` requirement excludes this core, or None."""
    for text in requirements:
        if not re.match(r"zoo[-_.]core\b", text, re.IGNORECASE) or "extra ==" in text:
            continue
        bounds = re.fullmatch(r"zoo-core\s*(?:<([\d.]+),\s*>=([\d.]+)|>=([\d.]+),\s*<([\d.]+))", text)
        if bounds:  # the form that every plugin here uses; reading others takes a fifth of the time of `zoo list`
            low, high = bounds[2] or bounds[3], bounds[1] or bounds[4]
            fits = _numbers(low) <= _numbers(__version__) < _numbers(high)
        else:
            from packaging.requirements import InvalidRequirement, Requirement

            try:
                fits = Requirement(text).specifier.contains(__version__, prereleases=True)
            except InvalidRequirement as error:
                return f"unreadable requirement {text!r}: {error}"
        if not fits:
            return f"needs {text}, this is {__version__}; upgrade whichever is older"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def one_owner(kind: str, name: str, owners: list[Plugin]) -> None:
    """`ZooError` if several plugins offer `name`; never the last one wins."""
    if len(owners) > 1:
        who = " and ".join(f"{plugin.distribution} (plugin {plugin.name!r})" for plugin in owners)
        raise ZooError(
            f"{kind} {name!r} is offered by {who}; uninstall one, or choose one with ZOO_PLUGINS={owners[0].name}"
        )
