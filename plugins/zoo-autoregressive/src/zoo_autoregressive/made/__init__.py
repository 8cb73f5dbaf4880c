"""MADE: a masked autoencoder, in the natural order of the pixels (`model.py`) or in random ones (`orders.py`)."""
