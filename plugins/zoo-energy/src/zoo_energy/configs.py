"""What the family offers, told without torch: the list of its models."""

from __future__ import annotations

from zoo_core import ModelSpec
from zoo_energy.dsm_ebm import config as dsm_ebm
from zoo_energy.ebm import config as ebm
from zoo_energy.rbm import config as rbm

__all__ = ["SPECS"]

SPECS: tuple[ModelSpec, ...] = (*rbm.SPECS, *ebm.SPECS, *dsm_ebm.SPECS)
