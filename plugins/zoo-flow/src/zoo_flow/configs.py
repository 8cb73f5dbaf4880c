"""What the family offers, told without torch: the list of its models."""

from __future__ import annotations

from zoo_core import ModelSpec
from zoo_flow.ffjord import config as ffjord

__all__ = ["SPECS"]

SPECS: tuple[ModelSpec, ...] = (*ffjord.SPECS,)
