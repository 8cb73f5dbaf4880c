"""What the family offers, told without torch: the specs of all models, from the `config.py` of each."""

from __future__ import annotations

from zoo_autoencoder.cvae import config as cvae
from zoo_autoencoder.iwae import config as iwae
from zoo_autoencoder.vae import config as vae

SPECS = (*vae.SPECS, *cvae.SPECS, *iwae.SPECS)
