"""Configs: frozen dataclasses with a strict JSON codec.

A config holds all that a model class reads, and nothing else. Its fields are `int`, `float`, `str`, `bool`, `None`,
`tuple`, `Literal` and other configs. The codec knows no leniency: an unknown key, a wrong type or a bad choice is an
error that names the path (`DDPMConfig.unet.width: expected int, got 'a'`), because a config that is half understood
makes a model that is not the one whose number was published.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Self

from zoo_core.errors import ZooError, did_you_mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Base of every config; subclasses are `@dataclass(frozen=True, kw_only=True)`.

    Values are checked against the annotations when a config is made, so a wrong one never reaches a model. A subclass
    with conditions of its own defines `__post_init__`, calls `super().__post_init__()` and raises `ZooError`.
    """

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        for field in dataclasses.fields(self):
            path = f"{type(self).__name__}.{field.name}"
            object.__setattr__(self, field.name, _decode(getattr(self, field.name), hints[field.name], path))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; tuples become lists, configs become objects."""
        return {field.name: _encode(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces; equal configs give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], path: str | None = None) -> Self:
        """The config that `data` describes; missing keys take their defaults, anything else wrong raises `ZooError`."""
        path = path or cls.__name__
        if not isinstance(data, Mapping):
            raise ZooError(f"{path}: expected an object with the fields of {cls.__name__}, got {data!r}")
        hints = _hints(cls)
        values = {}
        for key, value in data.items():
            if key not in hints:
                raise ZooError(f"{path}.{key}: unknown key{did_you_mean(str(key), hints)}")
            values[key] = _decode(value, hints[key], f"{path}.{key}")
        required = [field.name for field in dataclasses.fields(cls) if _is_required(field)]
        if missing := [name for name in required if name not in values]:
            raise ZooError(f"{path}: missing {', '.join(missing)}")
        return cls(**values)

    def expect(self, field: str, holds: bool, what: str) -> None:
        """For `__post_init__`: `ZooError` that says `what` was expected of a field's value unless that `holds`."""
        if not holds:
            raise ZooError(f"{type(self).__name__}.{field}: expected {what}, got {getattr(self, field)!r}")

    def override(self, changes: Mapping[str, Any]) -> Self:
        """A copy with dotted keys replaced: `config.override({"unet.width": 96})`.

        All are replaced before any is checked, so values that only fit together can be given together.
        Strings are read as the field's type (`"96"`, `"(64, 64)"`, `"true"`), so the command line's `--set` comes here.
        """
        data = self.to_dict()
        for key, value in changes.items():
            self._set(data, key.split("."), value, type(self).__name__)
        return type(self).from_dict(data)

    def _set(self, data: dict[str, Any], keys: list[str], value: Any, path: str) -> None:
        head, rest = keys[0], keys[1:]
        hints = _hints(type(self))
        if head not in hints:
            raise ZooError(f"{path}.{head}: unknown key{did_you_mean(head, hints)}")
        if not rest:
            data[head] = _encode(_parse(value, hints[head]))
            return
        current = getattr(self, head)
        if not isinstance(current, Config):
            raise ZooError(f"{path}.{head}: has no fields of its own, so '{'.'.join(keys)}' means nothing")
        current._set(data[head], rest, value, f"{path}.{head}")


def _hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _encode(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return value


def _parse(value: Any, hint: Any) -> Any:
    """A command-line string as the JSON value it spells; a string for a string field stays as it is."""
    if not isinstance(value, str) or hint is str:
        return value
    text = value.strip()
    if text[:2] != "[[" and (typing.get_origin(hint) is tuple or text[:1] == "("):  # "(64, 64)", "64,64", "64": tuples
        text = "[" + text.strip("()[] ").rstrip(", ") + "]"
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(text, text))
    except json.JSONDecodeError:
        return value


def _decode(value: Any, hint: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        configs = [option for option in arguments if isinstance(option, type) and issubclass(option, Config)]
        if isinstance(value, Mapping) and len(configs) == 1:  # only this can be meant: its own error is the better one
            return _decode(value, configs[0], path)
        for option in arguments:
            try:
                return _decode(value, option, path)
            except ZooError:
                continue
    elif origin is Literal:
        for choice in arguments:
            if value == choice and type(value) is type(choice):
                return value
        near = did_you_mean(value, map(str, arguments)) if isinstance(value, str) else ""
        raise ZooError(f"{path}: expected one of {', '.join(map(repr, arguments))}, got {value!r}{near}")
    elif origin is tuple:
        if isinstance(value, (list, tuple)):
            kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
            if len(kinds) == len(value):
                items = zip(value, kinds, strict=True)
                return tuple(_decode(item, kind, f"{path}[{i}]") for i, (item, kind) in enumerate(items))
    elif hint is None or hint is type(None):
        if value is None:
            return None
    elif hint is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif isinstance(hint, type) and issubclass(hint, Config):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return hint.from_dict(value, path)
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    raise ZooError(f"{path}: expected {_describe(hint)}, got {value!r}")


def _describe(hint: Any) -> str:
    if hint is None or hint is type(None):
        return "null"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_describe(option) for option in typing.get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
