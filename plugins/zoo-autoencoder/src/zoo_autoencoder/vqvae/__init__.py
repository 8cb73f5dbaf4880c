"""VQ-VAE: discrete codes (the first stage), and an autoregressive prior over them (the second)."""
