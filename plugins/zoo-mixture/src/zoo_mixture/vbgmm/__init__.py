"""VBGMM: Gaussian mixtures by variational Bayes. `variational.py` fits them to points of R^D, `model.py` to images."""
