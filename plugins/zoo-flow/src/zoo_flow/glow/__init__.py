"""Glow: activation normalisation, invertible 1x1 convolutions and affine couplings, at several scales."""
