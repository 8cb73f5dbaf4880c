"""Metrics of images themselves and of their classes: examples by hand, scipy and torch-fidelity as oracles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch
from scipy import stats
from torch import Tensor
from zoo_bench.features import lpips
from zoo_bench.features.weightfiles import MissingWeights
from zoo_bench.metrics import conditional, reconstruction

from zoo_core import ZooError
from zoo_core.errors import WeightsError
from zoo_core.specs import ImageSpec


def pixels(n: int, side: int, seed: int, levels: int = 256) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(levels, (n, 1, side, side), generator=generator, dtype=torch.uint8)


# Reconstruction


GREY, DIGIT = ImageSpec(channels=1, height=28, width=28), ImageSpec(channels=1, height=8, width=8, levels=17)


def test_mse_and_psnr_by_hand() -> None:
    x, y = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    y[0] = 16
    y[1, 0, 0, 0] = 8
    assert reconstruction.mse(x, y, DIGIT).tolist() == pytest.approx([1, 0.25 / 64])
    assert reconstruction.psnr(x, y, DIGIT).tolist() == pytest.approx([0, 10 * np.log10(256)])
    assert reconstruction.psnr(x, x, DIGIT).tolist() == [float("inf")] * 2


@pytest.mark.parametrize(("side", "expected"), [(8, None), (13, None), (14, 7), (16, 7), (28, 11), (32, 11)])
def test_ssims_window_fits_twice_into_the_image(side: int, expected: int | None) -> None:
    images = ImageSpec(channels=1, height=side, width=side)
    assert reconstruction.window(images) == expected
    x = pixels(2, side, 0)
    assert (reconstruction.ssim(x, x, images) is None) == (expected is None)


@pytest.mark.parametrize("side", [16, 28])
def test_ssim_is_its_definition_with_scipys_gaussian_filter(side: int) -> None:
    images = ImageSpec(channels=1, height=side, width=side)
    x = pixels(3, side, 1)
    y = ((x.int() + pixels(3, side, 2).int() // 4).clamp(max=255)).to(torch.uint8)
    radius = (reconstruction.window(images) or 0) // 2

    def local(v: np.ndarray) -> np.ndarray:
        smooth = scipy.ndimage.gaussian_filter(v, 1.5, radius=radius)
        return smooth[radius:-radius, radius:-radius]

    expected = []
    for a, b in zip(x[:, 0].double().numpy(), y[:, 0].double().numpy()):
        mean_a, mean_b = local(a), local(b)
        var_a, var_b, cov = local(a * a) - mean_a**2, local(b * b) - mean_b**2, local(a * b) - mean_a * mean_b
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        similar = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
        expected.append((similar / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())
    found = reconstruction.ssim(x, y, images)
    assert found is not None and found.tolist() == pytest.approx(expected, rel=1e-9)
    same = reconstruction.ssim(x, x, images)
    assert same is not None and same.tolist() == pytest.approx([1, 1, 1], rel=1e-12)


def test_only_pairs_of_integer_images_are_compared() -> None:
    x = pixels(2, 28, 0)
    for wrong, message in ((x[:1], "pairs"), (x / 255, "uint8"), (x[:, :, 1:], "shape"), (x[:0], "pairs")):
        for measure in (reconstruction.mse, reconstruction.psnr, reconstruction.ssim):
            with pytest.raises(ZooError, match=message):
                measure(x, wrong, GREY)


# LPIPS


def random_weights() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of the shapes, and under the names, of the published files; a quarter of a second instead of half a gigabyte."""
    generator = torch.Generator().manual_seed(0)
    vgg = {
        name: torch.randn(value.shape, generator=generator) * (0.05 if value.dim() > 1 else 0.1)
        for name, value in lpips.Lpips().state_dict().items()
        if name.startswith("features.")
    }
    linear = {
        f"lin{i}.model.1.weight": torch.rand(1, w[-1], 1, 1, generator=generator) for i, w in enumerate(lpips.CHANNELS)
    }
    return vgg, linear


def test_lpips_is_torch_fidelitys_for_equal_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_fidelity import sample_similarity_lpips as theirs
    from torchvision.models import vgg as torchvision_vgg

    vgg, linear = random_weights()

    class Vgg:
        features = torchvision_vgg.make_layers(torchvision_vgg.cfgs["D"])

    Vgg.features.load_state_dict({name.removeprefix("features."): value for name, value in vgg.items()})
    monkeypatch.setattr(theirs, "torchvision_load_pretrained_vgg16", Vgg)
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: linear)
    peer = theirs.SampleSimilarityLPIPS("lpips")
    x, y = (
        torch.randint(256, (3, 3, 32, 40), generator=torch.Generator().manual_seed(s)).to(torch.uint8) for s in (1, 2)
    )
    with torch.no_grad():
        expected = peer(x, y).flatten()
    images = ImageSpec(channels=3, height=32, width=40)
    network = lpips.assemble(vgg, linear)
    found = lpips.lpips(x, y, images, network)
    assert float(found.min()) > 1e-3
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-4)
    assert lpips.lpips(x, x, images, network).tolist() == [0, 0, 0]


def test_lpips_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=lpips.VGG) as caught:
        lpips.load(tmp_path)
    assert caught.value.file == lpips.VGG
    (tmp_path / lpips.VGG).write_bytes(b"something else")
    with pytest.raises(WeightsError, match="sha256 is"):
        lpips.load(tmp_path)
    with pytest.raises(WeightsError, match="not the weights"):
        lpips.assemble({}, {})


def test_lpips_refuses_images_too_small_for_four_poolings() -> None:
    x = pixels(1, 8, 0, levels=17)
    with pytest.raises(ZooError, match="at least 16 pixels"):
        lpips.lpips(x, x, DIGIT, lpips.assemble(*random_weights()))


# Conditional samples


def test_the_class_histogram_is_a_distribution() -> None:
    logits = torch.eye(4)[torch.tensor([0, 0, 1, 3])]
    seen = conditional.class_histogram(logits, 4)
    assert seen.tolist() == [0.5, 0.25, 0, 0.25]
    even = conditional.frequencies(torch.arange(8) % 4, 4)
    assert conditional.total_variation(seen, even) == 0.25
    assert conditional.total_variation(seen, seen) == 0


def test_accuracy_is_the_share_of_right_classes() -> None:
    logits, labels = torch.eye(3)[torch.tensor([0, 1, 1, 2])], torch.tensor([0, 0, 1, 1])
    assert conditional.accuracy(logits, labels) == 0.5


def test_labels_are_as_often_as_in_training_by_a_chi_square_test() -> None:
    training = torch.arange(10).repeat(50)
    for few, as_often in ((60, True), (10, False)):  # of class 0, beside 100 of each other class
        labels = torch.cat([torch.zeros(few, dtype=torch.int64), torch.arange(1, 10).repeat(100)])
        pvalue = stats.chisquare(torch.bincount(labels).numpy()).pvalue
        assert bool(pvalue > 1e-6) is as_often
        assert conditional.as_often_as(labels, training) is as_often
    assert not conditional.as_often_as(torch.tensor([0, 1, 2]), torch.tensor([0, 1]))  # a class that training lacks


def test_the_interval_of_a_share_is_no_point_where_all_are_right() -> None:
    """Wilson's own: the ends p solve (share - p)^2 = z^2 p (1 - p) / n."""
    for share, n in ((1.0, 50), (0.0, 50), (0.3, 10)):
        low, high = conditional.wilson(share, n)
        assert 0 <= low <= share <= high <= 1
        assert low < high
        for end in (low, high):
            if end not in (0.0, 1.0):
                assert (share - end) ** 2 == pytest.approx(1.96**2 * end * (1 - end) / n, rel=1e-9)


def test_bad_labels_and_logits_are_refused() -> None:
    logits = torch.zeros(4, 3)
    for labels, message in (
        (torch.tensor([0, 1, 2, 3]), r"0\.\.2, got 3"),
        (torch.tensor([0, 1]), "one for each of 4"),
        (torch.zeros(4), "int64"),
    ):
        with pytest.raises(ZooError, match=message):
            conditional.accuracy(logits, labels)
    with pytest.raises(ZooError, match=r"expected \(N, 10\)"):
        conditional.class_histogram(logits, 10)
    with pytest.raises(ZooError, match="NaN or infinity"):
        conditional.class_histogram(torch.full((2, 3), float("nan")))
    with pytest.raises(ZooError, match="at least 1 image"):
        conditional.class_histogram(torch.zeros(0, 3))
