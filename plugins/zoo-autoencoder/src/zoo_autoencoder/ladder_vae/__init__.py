"""Ladder VAE: posteriors that correct the prior's way down by what went up."""
