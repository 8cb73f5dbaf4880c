"""Find plugins through the entry points of group `zoo`, one by one, so that a broken one costs nobody else anything.

pluggy's own `load_setuptools_entrypoints` stops at the first plugin that fails to import, and a hook call at the first
implementation that raises; here each failure is kept with its reason and shown by `zoo plugins`.
`ZOO_PLUGINS=gan,flow` restricts which plugins load (entry-point names); the harness, `bench`, always loads.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pluggy

import zoo_core
from zoo_core import hooks
from zoo_core.errors import ZooError, unknown

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
        for name in sorted(wanted - {point.name for point in points}):
            raise unknown(
                "plugin", name, [point.name for point in points], " (in the environment variable ZOO_PLUGINS)"
            )
        seen: dict[str, str] = {}
        for point in points:
            if wanted and point.name not in wanted | {HARNESS}:
                continue
            distribution = point.dist.name if point.dist else "?"
            plugin = Plugin(point.name, distribution, point.dist.version if point.dist else "?")
            if seen.setdefault(point.name, distribution) != distribution:
                plugin.error = (
                    f"entry point {point.name!r} is already taken by {seen[point.name]}; uninstall one of them"
                )
            else:
                plugin.error = _incompatible(point)
            if plugin.error:
                self.found.append(plugin)
                continue
            try:
                package = point.load()
            except (Exception, SystemExit) as error:
                plugin.error = f"import failed: {type(error).__name__}: {error}"
                self.found.append(plugin)
                continue
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


def _incompatible(point: metadata.EntryPoint) -> str | None:
    """Why a plugin's declared `zoo-core` requirement excludes this core, or None."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in (point.dist.requires if point.dist else None) or []:
        if not text.lower().replace("_", "-").startswith("zoo-core"):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            return f"unreadable requirement {text!r}: {error}"
        if not requirement.specifier.contains(zoo_core.__version__, prereleases=True):
            wanted = f"needs zoo-core{requirement.specifier}, this is {zoo_core.__version__}"
            return f"{wanted}; upgrade whichever is older"
    return None


def one_owner(kind: str, name: str, owners: list[Plugin]) -> None:
    """`ZooError` if several plugins offer `name`; never the last one wins."""
    if len(owners) > 1:
        who = " and ".join(f"{plugin.distribution} (plugin {plugin.name!r})" for plugin in owners)
        raise ZooError(
            f"{kind} {name!r} is offered by {who}; uninstall one, or choose one with ZOO_PLUGINS={owners[0].name}"
        )
