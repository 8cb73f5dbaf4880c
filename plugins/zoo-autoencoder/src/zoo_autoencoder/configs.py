"""What the family offers, told without torch: the specs of all models, from the `config.py` of each."""

from __future__ import annotations

from zoo_autoencoder.vae import config as vae
from zoo_autoencoder.vqvae import config as vqvae

SPECS = (*vae.SPECS, *vqvae.SPECS)
