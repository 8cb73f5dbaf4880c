"""The quantisers against slow, literal versions of their papers' equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from zoo_autoencoder.vqvae.config import VQVAECodesConfig
from zoo_autoencoder.vqvae.quantisers import FiniteScalarQuantiser, VectorQuantiser, perplexity

from zoo_core import ZooError


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vq(codes: int = 7, dimension: int = 3, **config: object) -> VectorQuantiser:
    found = VectorQuantiser(VQVAECodesConfig(codes=codes, dimension=dimension, **config)).double()
    found.codebook.copy_(normal(codes, dimension, seed=1))
    found.sums.copy_(found.codebook)
    return found


def fsq(*levels: int) -> FiniteScalarQuantiser:
    return FiniteScalarQuantiser(VQVAECodesConfig(quantiser="fsq", levels=levels))


def nearest(h: Tensor, codebook: Tensor) -> Tensor:
    """VQ, equation 1, one place at a time. h: `(N, d, h, w)`."""
    found = torch.empty(len(h), *h.shape[2:], dtype=torch.int64)
    for n, i, j in torch.cartesian_prod(*(torch.arange(size) for size in found.shape)).tolist():
        distances = [float((h[n, :, i, j] - e).square().sum()) for e in codebook]
        found[n, i, j] = min(range(len(codebook)), key=distances.__getitem__)
    return found


def test_the_nearest_code_is_taken() -> None:
    quantiser, h = vq(), normal(5, 3, 4, 2)
    codes = quantiser.codes(h)
    assert torch.equal(codes, nearest(h, quantiser.codebook))
    e, again, _ = quantiser(h)
    assert torch.equal(codes, again)
    assert torch.equal(e[2, :, 3, 1], quantiser.codebook[codes[2, 3, 1]])
    assert len(codes.unique()) > 3


def test_half_precision_elsewhere_takes_no_other_code() -> None:
    quantiser, h = vq(codes=256).float(), normal(50, 3, 4, 4).float()
    expected = quantiser.codes(h)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantiser.codes(h), expected)


def test_the_gradient_goes_straight_through_and_the_encoder_commits() -> None:
    """To h goes what e would have had (section 3.2), and 2 beta (h - e) of equation 3's last term; to e nothing."""
    quantiser, h = vq(commitment=0.7), normal(4, 3, 2, 2).requires_grad_()
    weights = normal(4, 3, 2, 2, seed=2)
    z, codes, committed = quantiser(h)
    e = quantiser.vectors(codes)
    assert torch.equal(committed, 0.7 * (h - e).square().sum((1, 2, 3)))
    (weights * z.pow(3)).sum().backward()
    torch.testing.assert_close(h.grad, weights * 3 * e.square())
    h.grad = None
    quantiser(h)[2].sum().backward()
    torch.testing.assert_close(h.grad, 1.4 * (h.detach() - e))
    assert not list(quantiser.parameters())


def test_the_codebook_follows_appendix_a1() -> None:
    """Equations 6 to 8, one vector at a time, with sums over the batch; the quantiser's are per image."""
    quantiser = vq(decay=0.9)
    batches = [normal(6, 3, 2, 2, seed=seed) for seed in range(5)]
    count, total = 6 * quantiser.counts.clone(), 6 * quantiser.sums.clone()
    codebook = quantiser.codebook.clone()
    for h in batches:
        n, s = torch.zeros_like(count), torch.zeros_like(total)
        for vector in h.movedim(1, -1).reshape(-1, 3):
            i = int((codebook - vector).square().sum(1).argmin())
            n[i] += 1
            s[i] += vector
        count = 0.9 * count + 0.1 * n
        total = 0.9 * total + 0.1 * s
        codebook = total / count[:, None]
        quantiser.update(quantiser.statistics(h, quantiser.codes(h)))
        torch.testing.assert_close(quantiser.codebook, codebook)
        torch.testing.assert_close(6 * quantiser.counts, count)


def test_a_code_that_nothing_is_assigned_to_stays_finite_and_where_it_is() -> None:
    quantiser = vq(restart=0.0)
    quantiser.codebook[3] = quantiser.sums[3] = 1e3
    for _ in range(3_000):
        quantiser.update(quantiser.statistics(h := normal(2, 3, 1, 1), quantiser.codes(h)))
    torch.testing.assert_close(quantiser.codebook[3], torch.full((3,), 1e3, dtype=torch.float64))


@pytest.mark.parametrize(("decay", "steps"), [(0.0, 1), (0.5, 200)])
def test_a_code_that_nothing_is_left_of_in_the_averages_stays_where_it_is(decay: float, steps: int) -> None:
    quantiser, h = vq(decay=decay, restart=0.0), normal(2, 3, 1, 1)
    before, unused = quantiser.codebook.clone(), torch.ones(7, dtype=torch.bool)
    for _ in range(steps):
        codes = quantiser.codes(h)
        unused[codes.flatten()] = False
        quantiser.update(quantiser.statistics(h, codes))
    assert unused.sum() >= 5
    torch.testing.assert_close(quantiser.codebook[unused], before[unused])


def test_dead_codes_restart_on_encoder_outputs_and_the_others_stay() -> None:
    h, quantiser = normal(20, 3, 2, 2), vq(restart=0.1)
    dead = torch.tensor([False, True, False, False, True, True, False])
    quantiser.counts.copy_(torch.where(dead, 0.09, 0.11) * 4 / 7)  # 4 vectors per image, 7 codes
    before = quantiser.codebook.clone()
    quantiser.restart(h, index=50)
    vectors = h.movedim(1, -1).reshape(-1, 3)
    there = (quantiser.codebook[:, None] == vectors).all(-1).any(1)
    assert torch.equal(there, dead)
    assert torch.equal(quantiser.codebook[~dead], before[~dead])
    assert len(quantiser.codebook.unique(dim=0)) == 7
    torch.testing.assert_close(quantiser.counts[dead], torch.full((3,), 0.2 * 4 / 7, dtype=torch.float64))
    torch.testing.assert_close(quantiser.sums[dead], 0.2 * 4 / 7 * quantiser.codebook[dead])
    again = vq(restart=0.1)  # another process: the same outputs, the same step
    again.counts.copy_(torch.where(dead, 0.09, 0.11) * 4 / 7)
    again.restart(h, index=50)
    assert torch.equal(again.codebook, quantiser.codebook)


@pytest.mark.parametrize("everything", [False, True])
def test_where_places_are_fewer_than_codes_each_is_given_to_one_and_the_rest_stay(everything: bool) -> None:
    """Of five places two are alike up to rounding: four codes move, whichever they are."""
    h, quantiser = normal(5, 3, 1, 1), vq(codes=9, restart=0.1)
    h[4] = h[1] * (1 + 1e-15)
    dead = torch.tensor([True, False, True, True, False, True, True, True, False])
    quantiser.counts.copy_(torch.where(dead, 0.09, 0.11) / 9)
    before, counts = quantiser.codebook.clone(), quantiser.counts.clone()
    quantiser.restart(h, index=0, everything=everything)
    moved = (quantiser.codebook != before).any(1)
    first = (dead | everything).nonzero().flatten()[:4].tolist()
    assert moved.nonzero().flatten().tolist() == first
    nearest_places = torch.cdist(quantiser.codebook[moved], h[:4].flatten(1))
    assert (nearest_places.amin(1) < 1e-12).all() and len(nearest_places.argmin(1).unique()) == 4
    if not everything:
        assert torch.equal(quantiser.counts[~moved], counts[~moved])
    torch.testing.assert_close(quantiser.sums[moved], quantiser.counts[moved, None] * quantiser.codebook[moved])


def test_restarts_keep_all_codes_in_use() -> None:
    """Vectors around eight points, and a codebook of which half begins far away: without restarts it stays there."""
    points = 10 * normal(8, 2)
    used = {}
    for restart in (0.0, 0.1):
        quantiser = vq(codes=8, dimension=2, decay=0.8, restart=restart)
        quantiser.codebook[4:] += 1e3
        quantiser.sums.copy_(quantiser.codebook)
        for step in range(200):
            h = (points.repeat(4, 1) + 0.1 * normal(32, 2, seed=step)).view(32, 2, 1, 1)
            if restart and step % 10 == 0:
                quantiser.restart(h, step)
            quantiser.update(quantiser.statistics(h, quantiser.codes(h)))
        everywhere = (points.repeat(100, 1) + 0.1 * normal(800, 2)).view(800, 2, 1, 1)
        used[restart] = len(quantiser.codes(everywhere).unique())
    assert used[0.0] <= 4 and used[0.1] == 8


@pytest.mark.parametrize("levels", [(3,), (2,), (8, 6, 5), (5, 5, 3, 3), (2,) * 8, (256,)])
def test_scalars_are_rounded_one_by_one_and_codes_are_a_bijection(levels: tuple[int, ...]) -> None:
    quantiser = fsq(*levels)
    every = torch.arange(math.prod(levels)).view(-1, 1, 1)
    vectors = quantiser.vectors(every)  # (K, d, 1, 1)
    assert len(vectors.flatten(1).unique(dim=0)) == len(every)
    assert torch.equal(quantiser.codes(vectors.clamp(-1 + 1e-6, 1 - 1e-6).atanh()), every)

    h = 2 * normal(300, len(levels), 1, 2).float()
    got = quantiser.vectors(quantiser.codes(h))
    for i, size in enumerate(levels):
        ladder = torch.linspace(-1, 1, size)
        expected = ladder[(h[:, i].tanh().unsqueeze(-1) - ladder).abs().argmin(-1)]
        torch.testing.assert_close(got[:, i], expected)
        if size % 2:  # FSQ, section 3.1, as it is written
            half = size // 2
            torch.testing.assert_close(got[:, i], (half * h[:, i].tanh()).round() / half)


def test_gradients_of_scalars_go_through_tanh() -> None:
    quantiser, h = fsq(5, 4), normal(3, 2, 2, 2).float().requires_grad_()
    z, _, committed = quantiser(h)
    z.pow(2).sum().backward()
    torch.testing.assert_close(h.grad, 2 * z.detach() * (1 - h.detach().tanh().square()))
    assert not committed.any()


def test_perplexity_counts_codes_as_if_used_alike() -> None:
    assert float(perplexity(torch.tensor([3.0, 3, 0, 3, 0, 3]))) == pytest.approx(4)
    assert float(perplexity(torch.tensor([0.0, 5, 0]))) == pytest.approx(1)
    p = torch.tensor([0.7, 0.2, 0.1])
    assert float(perplexity(9 * p).log()) == pytest.approx(-sum(q * math.log(q) for q in p.tolist()))


def test_statistics_count_each_code_per_image() -> None:
    quantiser, h = fsq(3, 2), normal(11, 2, 3, 1).float()
    codes = quantiser.codes(h)
    count = quantiser.statistics(h, codes)["count"]
    assert (11 * count).round().tolist() == torch.bincount(codes.flatten(), minlength=6).tolist()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("codes", 257), ("codes", 1), ("levels", (7, 7, 6)), ("levels", (1, 8)), ("levels", ()), ("decay", 1.0)),
        *(("restart", -0.1), ("commitment", -1.0), ("dimension", 0), ("widths", ()), ("blocks", -1), ("components", 0)),
    ],
)
def test_bad_configs_are_refused(field: str, value: object) -> None:
    with pytest.raises(ZooError, match=rf"VQVAECodesConfig\.{field}: expected"):
        VQVAECodesConfig(**{field: value})
