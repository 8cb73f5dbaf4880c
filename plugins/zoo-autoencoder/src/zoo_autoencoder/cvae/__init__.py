"""CVAE: the conditional variational autoencoder."""
