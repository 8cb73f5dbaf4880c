"""What the family offers, told without torch: the specs of all models, from the `config.py` of each."""

from __future__ import annotations

from zoo_autoencoder.cvae import config as cvae
from zoo_autoencoder.hvae import config as hvae
from zoo_autoencoder.iwae import config as iwae
from zoo_autoencoder.ladder_vae import config as ladder_vae
from zoo_autoencoder.vae import config as vae
from zoo_autoencoder.vdvae import config as vdvae

SPECS = (*vae.SPECS, *cvae.SPECS, *iwae.SPECS, *hvae.SPECS, *ladder_vae.SPECS, *vdvae.SPECS)
