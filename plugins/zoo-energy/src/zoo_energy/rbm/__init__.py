"""RBM: the restricted Boltzmann machine."""
