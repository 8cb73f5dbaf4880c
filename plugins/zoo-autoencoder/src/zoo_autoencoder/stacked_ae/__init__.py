"""Stacked AE: an autoencoder pretrained layer by layer."""
