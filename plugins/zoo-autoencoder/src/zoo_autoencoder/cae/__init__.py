"""CAE: the contractive autoencoder."""
