"""GMM: mixtures of Gaussians. `em.py` fits them to points of R^D, `model.py` to images."""
