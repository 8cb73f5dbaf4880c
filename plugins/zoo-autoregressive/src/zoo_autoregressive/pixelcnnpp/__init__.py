"""PixelCNN++: two streams at several resolutions, whole pixels by mixtures of discretised logistics."""
