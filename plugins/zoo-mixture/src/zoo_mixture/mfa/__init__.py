"""MFA: mixtures of factor analysers. `em.py` fits them to points of R^D, `start.py` starts them, `model.py` has images."""
