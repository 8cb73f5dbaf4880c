"""What the family offers, told without torch: the specs of all models, from the `config.py` of each."""

from __future__ import annotations

from zoo_core import ModelSpec
from zoo_energy.rbm import config as rbm

__all__ = ["SPECS"]

SPECS: tuple[ModelSpec, ...] = (*rbm.SPECS,)
