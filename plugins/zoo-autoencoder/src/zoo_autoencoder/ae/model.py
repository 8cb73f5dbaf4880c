"""AE: a bottleneck of few numbers, and the smallest error that can be reached through it.

G. Hinton, R. Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", 2006,
https://doi.org/10.1126/science.1127647: minimise the cross-entropy - sum_i p_i ln p^_i - sum_i (1 - p_i) ln (1 - p^_i)
between pixels p_i and their reconstructions p^_i, with a code of linear units.

With linear layers and squared errors the minimum is principal component analysis: H. Bourlard, Y. Kamp,
"Auto-association by multilayer perceptrons and singular value decomposition", 1988,
https://doi.org/10.1007/BF00332918; P. Baldi, K. Hornik, "Neural networks and principal component analysis", 1989,
https://doi.org/10.1016/0893-6080(89)90014-2.

Departures: no pretraining by restricted Boltzmann machines, which Glorot's initialisation and AdamW make unnecessary
at this depth (`stacked_ae` pretrains, by autoencoders); convolutions are our addition.
"""

from __future__ import annotations

from zoo_autoencoder.ae.config import AEConfig
from zoo_autoencoder.deterministic import DeterministicAutoencoder


class AE(DeterministicAutoencoder):
    """All of it is shared with the models that add something to it."""

    config: AEConfig
