"""What is asked of arguments that methods of several models share: each check says where, what was given, what fits."""

from __future__ import annotations

from torch import Tensor

from zoo_core.errors import ZooError
from zoo_core.images import check
from zoo_core.specs import ImageSpec


def count(where: str, name: str, n: int, least: int = 1, why: str = "") -> None:
    """`ZooError` unless n is a whole number of at least `least`."""
    if type(n) is not int or n < least:
        raise ZooError(f"{where}: expected {name} >= {least}{why}, a whole number, got {n!r}")


def some(x: Tensor, images: ImageSpec) -> Tensor:
    """`x`, if it is integer images, at least one."""
    if not len(check(x, images)):
        raise ZooError("expected at least one image, got none")
    return x


def one(where: str, x: Tensor, images: ImageSpec) -> Tensor:
    """`x`, one integer image `(C, H, W)` or `(1, C, H, W)`, as `(1, C, H, W)`."""
    try:
        x = check(x.unsqueeze(0) if isinstance(x, Tensor) and x.dim() == 3 else x, images)
    except ZooError as error:
        raise ZooError(f"{where}: {error}") from error
    if len(x) != 1:
        raise ZooError(f"{where}: expected one image, got {len(x)}")
    return x
