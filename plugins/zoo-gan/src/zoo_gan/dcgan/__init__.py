"""DCGAN: strided convolutions, batch normalisation, the non-saturating loss."""
