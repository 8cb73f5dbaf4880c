"""PixelSNAIL: gated causal convolutions, and attention over all earlier pixels."""
