"""SAE: the sparse autoencoder."""
