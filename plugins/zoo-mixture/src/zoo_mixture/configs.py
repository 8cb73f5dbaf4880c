"""What the family offers, told without torch: the configs and specs of all its models, which are beside the models."""

from __future__ import annotations

from zoo_mixture.bmm import config as bmm
from zoo_mixture.bmm.config import BMMConfig
from zoo_mixture.gmm import config as gmm
from zoo_mixture.gmm.config import GMMConfig

__all__ = ["SPECS", "BMMConfig", "GMMConfig"]

SPECS = (*gmm.SPECS, *bmm.SPECS)
