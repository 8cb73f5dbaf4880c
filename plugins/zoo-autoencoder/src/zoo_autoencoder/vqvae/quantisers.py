"""Real vectors to one of K codes and back: the nearest vector of a codebook, or each number rounded by itself.

van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning", 2017, https://arxiv.org/abs/1711.00937
("VQ"); Mentzer, Minnen, Agustsson, Tschannen, "Finite Scalar Quantization: VQ-VAE Made Simple", 2023,
https://arxiv.org/abs/2309.15505 ("FSQ").

A quantiser gives `codes(h)`, int64 `(N, h, w)` of vectors h `(N, d, h, w)`; `vectors(codes)`, `(N, d, h, w)`; and
`forward(h)`: the vectors, whose gradient goes to h as it is (straight-through), and what is to be added to the loss.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoencoder.vqvae.config import VQVAECodesConfig
from zoo_core.step import seed_from


def straight_through(value: Tensor, through: Tensor) -> Tensor:
    """`value`, with the gradient that `through` would have had (VQ, section 3.2)."""
    return through + (value - through).detach()


class VectorQuantiser(nn.Module):
    """A codebook of K vectors that follows moving averages of what is assigned to each (VQ, appendix A.1).

        z = argmin_j |h - e_j|^2                                                                       (equation 1)
        N_i <- gamma N_i + (1 - gamma) n_i,   m_i <- gamma m_i + (1 - gamma) sum_j h_ij,   e_i = m_i / N_i
                                                                                                       (equations 6-8)

    n_i and the sums are per image here, not per batch: the same ratio, whatever the number of images.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor
    initialised: Tensor

    def __init__(self, config: VQVAECodesConfig) -> None:
        super().__init__()
        self.config = config
        size = (config.codes, config.dimension)
        self.register_buffer("codebook", torch.randn(size))
        self.register_buffer("counts", torch.ones(config.codes))
        self.register_buffer("sums", self.codebook.clone())
        self.register_buffer("initialised", torch.tensor(False))

    @property
    def dimension(self) -> int:
        return self.config.dimension

    def codes(self, h: Tensor) -> Tensor:
        flat = h.movedim(1, -1).flatten(0, -2)  # (N, d, h, w) -> (N h w, d)
        # |h - e|^2 without |h|^2, which is the same for every e: one product, and no (N h w, K, d) in memory
        with torch.autocast(h.device.type, enabled=False):  # in half precision another code would often be nearest
            distance = torch.addmm(self.codebook.square().sum(1), flat, self.codebook.t(), alpha=-2)
        return distance.argmin(1).view(len(h), *h.shape[2:])

    def vectors(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.codebook).movedim(-1, 1)  # (N, h, w, d) -> (N, d, h, w)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The vectors taken, the codes, and beta |h - sg(e)|^2 of each image (VQ, the last term of equation 3)."""
        codes = self.codes(h)
        e = self.vectors(codes)
        committed = self.config.commitment * (h - e).square().flatten(1).sum(1)
        return straight_through(e, h), codes, committed

    @torch.no_grad()
    def statistics(self, h: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """n_i and sum_j h_ij of a batch, averaged over its images: `count` `(K,)` and `sum` `(K, d)`."""
        flat, index = h.movedim(1, -1).flatten(0, -2), codes.flatten()
        count = torch.zeros_like(self.counts).index_add_(0, index, torch.ones_like(flat[:, 0]))
        return {"count": count / len(h), "sum": torch.zeros_like(self.sums).index_add_(0, index, flat) / len(h)}

    @torch.no_grad()
    def update(self, statistics: dict[str, Tensor]) -> None:
        """Equations 6 to 8. A code that nothing was assigned to stays where it is."""
        self.counts.lerp_(statistics["count"], 1 - self.config.decay)
        self.sums.lerp_(statistics["sum"], 1 - self.config.decay)
        means = self.sums / self.counts.clamp_min(1e-20).unsqueeze(1)
        self.codebook.copy_(torch.where((self.counts > 1e-20).unsqueeze(1), means, self.codebook))

    @torch.no_grad()
    def restart(self, h: Tensor, index: int, *, everything: bool = False) -> None:
        """Move codes that are hardly used, or all of them, onto encoder outputs h `(N, d, h, w)`, drawn at random.

        Not the paper's, which leaves them dead. h must be equal on all processes; the draw is seeded by the step's
        index alone, so that all processes agree, and costs no look at the device. No two codes are given the same
        place: where there are fewer places than codes, the rest stay.
        """
        flat = h.movedim(1, -1).flatten(0, -2)
        generator = torch.Generator(flat.device).manual_seed(seed_from("restart", index))
        drawn = torch.rand(len(flat), generator=generator, device=flat.device)
        fair = math.prod(h.shape[2:]) / len(self.codebook)  # uses per image if all codes were used alike
        dead = (self.counts < self.config.restart * fair) | everything
        if len(flat) >= len(self.codebook):
            moved, chosen = dead, drawn.argsort()[: len(self.codebook)]
        else:
            moved, chosen = _one_place_each(dead, flat, drawn)
        self.codebook.copy_(torch.where(moved.unsqueeze(1), flat[chosen], self.codebook))
        # So few that it follows its first vectors at once, and is soon dead again without any.
        few, light = (2 * self.config.restart or 1.0) * fair, moved | everything
        self.counts.copy_(torch.where(light, few, self.counts))
        self.sums.copy_(torch.where(light.unsqueeze(1), few * self.codebook, self.sums))


def _one_place_each(dead: Tensor, flat: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Which codes are moved, bool `(K,)`, and the index of each one's vector in `flat` `(P, d)`, for P < K.

    drawn: one random number in [0, 1) per place. Of vectors that are equal, as those of equal images, one is given
    away: between two codes at the same place rounding would decide, which differs from one micro-batch to another.
    """
    distance = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    again = (distance <= 1e-3 * flat.abs().max()).tril(-1).any(1)
    rank = dead.cumsum(0) - 1  # of the dead ones
    moved = dead & (rank < (~again).sum())
    return moved, (drawn + again).argsort()[rank.clamp(0, len(flat) - 1)]


class FiniteScalarQuantiser(nn.Module):
    """Number i of a vector is rounded to one of L_i levels, evenly from -1 to 1 (FSQ, section 3.1).

        k_i = round((L_i - 1) (1 + tanh h_i) / 2) in 0 .. L_i - 1,   value = 2 k_i / (L_i - 1) - 1,
        code = sum_i k_i prod_{j < i} L_j

    For odd L that is the paper's round(floor(L / 2) tanh h); for even L, where that would have L + 1 values, the levels
    here lie symmetrically about 0. Nothing is learned, so nothing need be equal on many processes, and no code dies.
    """

    levels: Tensor
    basis: Tensor

    def __init__(self, config: VQVAECodesConfig) -> None:
        super().__init__()
        self.alphabet = config.alphabet
        levels = torch.tensor(config.levels)
        basis = torch.cat([torch.ones(1, dtype=torch.int64), levels.cumprod(0)[:-1]])
        self.register_buffer("levels", levels.view(-1, 1, 1), persistent=False)
        self.register_buffer("basis", basis.view(-1, 1, 1), persistent=False)

    @property
    def dimension(self) -> int:
        return len(self.levels)

    def codes(self, h: Tensor) -> Tensor:
        digits = ((self.levels - 1) * (1 + h.tanh()) / 2).round().long()  # (N, d, h, w)
        return (digits * self.basis).sum(1)

    def vectors(self, codes: Tensor) -> Tensor:
        digits = codes.unsqueeze(1) // self.basis % self.levels  # (N, h, w) -> (N, d, h, w)
        return 2 * digits.to(torch.get_default_dtype()) / (self.levels - 1) - 1

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The levels taken, whose gradient goes through tanh; the codes; nothing to add to the loss."""
        codes = self.codes(h)
        return straight_through(self.vectors(codes).to(h.dtype), h.tanh()), codes, h.new_zeros(len(h))

    @torch.no_grad()
    def statistics(self, h: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """How often each code was taken per image, `count` `(K,)`."""
        count = h.new_zeros(self.alphabet)
        return {"count": count.index_add_(0, codes.flatten(), torch.ones_like(h[:, 0]).flatten()) / len(h)}

    def update(self, statistics: dict[str, Tensor]) -> None:
        """Nothing is learned."""


Quantiser = VectorQuantiser | FiniteScalarQuantiser


def quantiser(config: VQVAECodesConfig) -> Quantiser:
    """The one that a config names."""
    return {"vq": VectorQuantiser, "fsq": FiniteScalarQuantiser}[config.quantiser](config)


def perplexity(count: Tensor) -> Tensor:
    """exp of the entropy of code usage, 1 to K: how many codes, used alike, would be as varied. count: `(K,)`."""
    p = count / count.sum()
    return torch.special.entr(p).sum().exp()
