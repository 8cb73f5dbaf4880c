"""What the family offers, told without torch: the specs of all models, from the `config.py` of each."""

from __future__ import annotations

from zoo_core import ModelSpec
from zoo_energy.dsm_ebm import config as dsm_ebm
from zoo_energy.ebm import config as ebm

__all__ = ["SPECS"]

SPECS: tuple[ModelSpec, ...] = (*ebm.SPECS, *dsm_ebm.SPECS)
