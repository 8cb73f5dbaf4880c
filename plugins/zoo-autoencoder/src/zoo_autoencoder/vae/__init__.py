"""VAE: the variational autoencoder."""
