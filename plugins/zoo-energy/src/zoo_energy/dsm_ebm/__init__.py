"""DSM-EBM: an energy trained by denoising score matching, without a chain."""
