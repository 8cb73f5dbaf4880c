"""HVAE: a Markov chain of latents above the image."""
