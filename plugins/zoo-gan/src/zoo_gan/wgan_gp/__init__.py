"""WGAN-GP: a critic that estimates a Wasserstein distance, kept 1-Lipschitz by a penalty on its gradient."""
