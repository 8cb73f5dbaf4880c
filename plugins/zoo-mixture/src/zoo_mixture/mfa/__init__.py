"""MFA: mixtures of factor analysers. `em.py` fits them to points of R^D from `start.py`; `model.py` is about images."""
