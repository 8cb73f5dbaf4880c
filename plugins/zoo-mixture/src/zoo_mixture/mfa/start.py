"""Where EM starts: k-means, then the principal components of each cluster, without a D x D matrix.

The Q leading eigenvectors of each cluster's covariance S_k are found by subspace iteration, E <- orthonormal basis of
S_k E, where S_k E is the mean of u (u^T E) over a cluster's points u about its centre: one pass over the images each
time. G. Golub, C. Van Loan, "Matrix Computations", 4th edition, 2013, section 8.2.4; eigenvalues by Rayleigh and Ritz.
Loadings then are what probabilistic PCA makes of them: M. Tipping, C. Bishop, "Probabilistic Principal Component
Analysis", 1999, https://www.jstor.org/stable/2680726, eq. 7, with one noise variance (eq. 8) for all clusters: a
cluster of a few images has no residual of its own to learn it from.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_core.images import Batch
from zoo_core.step import Step
from zoo_mixture.kmeans import cluster
from zoo_mixture.mfa.em import Analysers

PASSES = 3  # over the training set, each a step of subspace iteration; EM does the rest


def start(
    batch: Batch, step: Step, k: int, latent: int, lloyd: int, noise: float, points: Callable[[Tensor], Tensor]
) -> Analysers:
    """`k` factor analysers of the training images as `points` `(N, D)`, equal on every process; noise `(1, 1)`.

    noise: the variance of what the points carry besides. batch: brings the random numbers.
    """
    centres, distance, _ = cluster(batch, step, k, lloyd, points)
    dims = centres.shape[1]
    drawn = step.gather(lambda part: part.extra["z"], batch.with_(z=step.randn(batch, dims, latent)))[0]
    basis = orthonormal(drawn.to(centres)).repeat(k, 1, 1)  # (K, D, Q)
    for i in range(PASSES):
        moments = step.mean(lambda part, basis=basis: scatter(points(part.x), centres, basis))
        product = moments["product"] / moments["share"].clamp_min(torch.finfo(distance.dtype).tiny)[:, None, None]
        if i < PASSES - 1:
            basis = orthonormal(product)
    ritz = basis.mT @ product
    values, vectors = torch.linalg.eigh((ritz + ritz.mT) / 2)  # (K, Q), (K, Q, Q)
    values = values.clamp_min(0)
    left = (distance - moments["share"] @ values.sum(1)).clamp_min(0) / (dims - latent) + noise
    # A loading of 0 would stay 0 for ever, and a small cluster has fewer directions than factors.
    length = (values + noise - left).clamp_min(left / 100).sqrt()
    return Analysers(
        weights=torch.full_like(moments["share"], 1 / k),
        means=centres,
        loadings=basis @ (vectors * length[:, None]) @ vectors.mT,  # no sign is left to chance
        noise=left.view(1, 1),
    )


def orthonormal(columns: Tensor) -> Tensor:
    """Gram-Schmidt of columns `(..., D, Q)`: the QR factor that makes R's diagonal positive, which is unique.

    With the signs of a library, rounding would decide, and with it how images are spread over chunks and processes.
    """
    q, r = torch.linalg.qr(columns)
    return q * torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1, 1).unsqueeze(-2)


def scatter(points: Tensor, centres: Tensor, basis: Tensor) -> dict[str, Tensor]:
    """Means over points `(N, D)`: "share" `(K,)` of each cluster, "product" `(K, D, Q)`, of u u^T E over all points."""
    member = F.one_hot(torch.cdist(points, centres).argmin(1), len(centres)).to(points) / len(points)  # (N, K)
    code = (points @ basis.transpose(0, 1).flatten(1)).unflatten(1, (len(centres), -1))  # (N, K, Q)
    code = (code - torch.einsum("kd,kdq->kq", centres, basis)) * member.unsqueeze(2)
    product = (points.T @ code.flatten(1)).unflatten(1, code.shape[1:]).transpose(0, 1)  # (K, D, Q)
    return {"share": member.sum(0), "product": product - centres[:, :, None] * code.sum(0)[:, None]}
