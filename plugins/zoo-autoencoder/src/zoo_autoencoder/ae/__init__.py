"""AE: the autoencoder, fully connected or convolutional."""
