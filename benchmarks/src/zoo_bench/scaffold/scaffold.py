"""A plugin to start from: `zoo new NAME` fills in the templates that lie beside this file. No torch.

The templates are a family of one small model that works: it keeps every law, trains, is benchmarked and listed, so
whatever a contributor replaces, there is something right to compare with. In a template `{{ word }}` stands for one of
the names below; in its path PACKAGE and MODEL do.
"""

from __future__ import annotations

import keyword
import re
import sys
import tempfile
from pathlib import Path

from zoo_bench import templates
from zoo_core import __version__, registry
from zoo_core.errors import ZooError
from zoo_core.plugins import plugins

TEMPLATES = Path(__file__).parent / "templates"

_NAME = re.compile(r"(?!.{31})[a-z][a-z0-9]*([-_][a-z0-9]+)*")  # three of them stand in one line of generated code
_RESERVED = {*keyword.kwlist, *sys.stdlib_module_names, "torch", "numpy", "configs", "recipes", "weights"}


def new(name: str, *, model: str | None = None, out: str | Path | None = None) -> str:
    """Write the plugin `zoo-NAME`, a folder in `out`: all of it or, on any error, nothing. Returns what to do next.

    model: the name of its first model (default: `name`). out: default `plugins/` in a checkout of zoo, else the current
    folder; made if it is not there.
    """
    in_checkout = Path("plugins").is_dir() and Path("requirements-dev.txt").is_file()
    names, filled = _names(name, name if model is None else model), templates.text("zoo_bench.scaffold", "templates")
    folder = Path(out or ("plugins" if in_checkout else "."), names["distribution"])
    if folder.exists() or folder.is_symlink():
        raise ZooError(f"{folder} is there already and was not touched; choose another name or --out, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            for template in TEMPLATES.rglob("*.tmpl"):
                place = template.relative_to(TEMPLATES).as_posix()
                named = place.removesuffix(".tmpl").replace("PACKAGE", names["package"])
                path = Path(temporary, "new", named.replace("MODEL", names["model"]))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(filled.get_template(place).render(names), "utf-8")
            Path(temporary, "new").rename(folder)
    except OSError as error:
        raise ZooError(f"cannot write {folder}: {error.strerror}; nothing is left of it") from error
    return filled.get_template("next.txt").render(names, folder=folder)


def _names(name: str, model: str) -> dict[str, str]:
    """What the templates call things; `ZooError` for names that cannot be used or that somebody has."""
    for word in (name, model):
        if not _NAME.fullmatch(word):
            rule = "lower-case letters, digits and single '_' or '-', a letter first, at most 30 characters"
            raise ZooError(f"name {word!r}: expected {rule}, e.g. my_flow")
    plugin, model = name.replace("-", "_"), model.replace("-", "_")
    cls, code = model.title().replace("_", ""), (TEMPLATES / "src/PACKAGE/MODEL.py.tmpl").read_text("utf-8")
    if {model, cls} & _RESERVED or cls in re.findall(r"\w+", " ".join(re.findall("import .*", code))):
        raise ZooError(f"model name {model!r}: Python or the code of every plugin uses it already; try 'my_{model}'")
    taken = {"core": "zoo-core"} | {found.name: found.distribution for found in plugins().found}
    models = {key: " and ".join(p.distribution for p, _ in who) for key, who in registry.models.offers().items()}
    for kind, word, owners in (("plugin", plugin, taken), ("model", model, models)):
        if word in owners:
            raise ZooError(f"{kind} {word!r} is there already, in {owners[word]}; choose another name")
    major, minor = __version__.split(".")[:2]
    version = {"version": __version__, "low": f"{major}.{minor}", "high": f"{major}.{int(minor) + 1}"}
    package, distribution = f"zoo_{plugin}", f"zoo-{plugin.replace('_', '-')}"
    return {"distribution": distribution, "package": package, "plugin": plugin, "model": model, "cls": cls, **version}
