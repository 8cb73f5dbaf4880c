"""IWAE: the importance-weighted autoencoder."""
