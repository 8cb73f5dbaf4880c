"""BMM: mixtures of images with independent pixels."""
