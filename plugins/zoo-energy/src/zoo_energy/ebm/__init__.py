"""EBM: an energy trained against the samples of its own Langevin chains."""
