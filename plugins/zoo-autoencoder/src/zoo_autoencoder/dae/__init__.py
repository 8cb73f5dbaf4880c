"""DAE: the denoising autoencoder."""
