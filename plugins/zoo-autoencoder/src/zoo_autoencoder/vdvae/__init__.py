"""VDVAE: a very deep hierarchy of latents at several resolutions."""
