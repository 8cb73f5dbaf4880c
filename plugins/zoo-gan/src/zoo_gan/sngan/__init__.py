"""SNGAN: spectral normalisation of the discriminator, the hinge loss, a projection on the class."""
