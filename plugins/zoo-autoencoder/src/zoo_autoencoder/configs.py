"""What the family offers, told without torch: the specs of all models, from the `config.py` of each."""

from __future__ import annotations

from zoo_autoencoder.ae import config as ae
from zoo_autoencoder.cae import config as cae
from zoo_autoencoder.cvae import config as cvae
from zoo_autoencoder.dae import config as dae
from zoo_autoencoder.hvae import config as hvae
from zoo_autoencoder.iwae import config as iwae
from zoo_autoencoder.ladder_vae import config as ladder_vae
from zoo_autoencoder.sae import config as sae
from zoo_autoencoder.stacked_ae import config as stacked_ae
from zoo_autoencoder.vae import config as vae
from zoo_autoencoder.vdvae import config as vdvae
from zoo_autoencoder.vqvae import config as vqvae

DETERMINISTIC = (*ae.SPECS, *dae.SPECS, *sae.SPECS, *cae.SPECS, *stacked_ae.SPECS)
VARIATIONAL = (*vae.SPECS, *cvae.SPECS, *iwae.SPECS, *hvae.SPECS, *ladder_vae.SPECS, *vdvae.SPECS)
SPECS = (*DETERMINISTIC, *VARIATIONAL, *vqvae.SPECS)
