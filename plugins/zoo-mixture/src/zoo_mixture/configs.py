"""What the family offers, told without torch: the configs and specs of all its models, which are beside the models."""

from __future__ import annotations

from zoo_mixture.bmm import config as bmm
from zoo_mixture.bmm.config import BMMConfig
from zoo_mixture.gmm import config as gmm
from zoo_mixture.gmm.config import GMMConfig
from zoo_mixture.mfa import config as mfa
from zoo_mixture.mfa.config import MFAConfig
from zoo_mixture.vbgmm import config as vbgmm
from zoo_mixture.vbgmm.config import VBGMMConfig

__all__ = ["SPECS", "BMMConfig", "GMMConfig", "MFAConfig", "VBGMMConfig"]

SPECS = (*gmm.SPECS, *bmm.SPECS, *vbgmm.SPECS, *mfa.SPECS)
