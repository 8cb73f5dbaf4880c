"""The step that every mixture shares: from joint log-probabilities to responsibilities and log-likelihoods."""

from __future__ import annotations

from torch import Tensor


def responsibilities_(log_joint: Tensor) -> tuple[Tensor, Tensor]:
    """gamma_nk = p(k | x_n) `(K, N)`, in the memory of `log_joint`, ln p(x_n, k) `(K, N)`; and ln p(x_n), nats `(N,)`.

    A softmax and a logsumexp over k that share their exponentials, which cost the most.
    """
    top = log_joint.amax(0)
    gamma = log_joint.sub_(top).exp_()
    total = gamma.sum(0)
    return gamma.div_(total), total.log_().add_(top)
