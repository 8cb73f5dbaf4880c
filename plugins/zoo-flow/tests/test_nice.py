"""NICE: its couplings and prior against the paper's equations, its constant Jacobian, what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from zoo_flow.nice.config import NICEConfig
from zoo_flow.nice.model import NICE

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.testing.cases import perturbed, structured_images

PAIR = ImageSpec(channels=1, height=1, width=2, levels=16)
ODD = ImageSpec(channels=1, height=3, width=3, levels=16)
COLOUR = ImageSpec(channels=3, height=2, width=3, levels=256)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(images: ImageSpec = ODD, **options: object) -> NICE:
    """Every parameter away from where it starts, float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NICE(images, NICEConfig(**{"couplings": 3, "hidden": (16, 16), **options}))
    return perturbed(model).double().eval()


@torch.no_grad()
def literal(model: NICE, y: Tensor) -> Tensor:
    """Sections 3.2 and 3.3, an image and a dimension at a time: z `(N, D)`."""
    norm = model.layers[-1]
    rows = []
    for image in y.flatten(1):
        h = image.clone()
        for i, layer in enumerate(model.layers[1:-1]):
            given, moved = (h[1::2], h[0::2]) if i % 2 else (h[0::2], h[1::2])
            m = layer.m(given)
            for j in range(len(moved)):
                h[2 * j + (1 - i % 2)] += m[j]
        h = torch.cat([h[0::2], h[1::2]])
        rows.append(torch.stack([(h[j] - norm.shift[j]) * math.exp(norm.log_scale[j]) for j in range(len(h))]))
    return torch.stack(rows)


@pytest.mark.parametrize("images", [PAIR, ODD, COLOUR], ids=str)
def test_the_map_is_the_papers(images: ImageSpec) -> None:
    model = make(images)
    y = torch.randn(5, *images.shape, generator=rng()).double()
    assert torch.allclose(model.transform(y)[0], literal(model, y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("images", [PAIR, ODD, COLOUR], ids=str)
def test_the_jacobian_is_the_same_everywhere(images: ImageSpec) -> None:
    """Additive couplings keep volumes: what is left is the scaling's, the sum of s."""
    model = make(images)
    y = 3 * torch.randn(40, *images.shape, generator=rng()).double()
    log_det = model.transform(y)[1]
    assert torch.allclose(log_det, model.layers[-1].log_scale.sum().expand(40), rtol=0, atol=1e-12)
    jacobian = torch.func.jacrev(lambda part: model.transform(part)[0].flatten())(y[:1])
    exact = torch.linalg.slogdet(jacobian.reshape(images.dims, images.dims))[1]
    assert abs(float((exact - log_det[0]).detach())) < 1e-10


def test_the_logistic_prior_is_that_of_a_standard_logistic_law() -> None:
    model = make(PAIR)
    z = torch.tensor([[0.0, 1.5], [-40.0, 3.0]]).double()
    sigmoid = 1 / (1 + (-z).exp())
    assert torch.allclose(model.log_base(z)[:1], (sigmoid * (1 - sigmoid)).log().sum(1)[:1], atol=1e-12)
    assert bool(model.log_base(1e4 * z).isfinite().all())
    drawn = model.draw_base(20_000, rng())
    assert bool(drawn.isfinite().all())
    assert float(drawn.var()) == pytest.approx(math.pi**2 / 3, rel=0.03)
    assert abs(float(drawn.sigmoid().mean()) - 0.5) < 0.01


def test_no_draw_is_infinite(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.rand is 0 once in 16 million float32 draws."""
    monkeypatch.setattr("zoo_flow.nice.model.rand", lambda *shape, **_: torch.tensor([[0.0, 1 - 2**-24]]))
    model = NICE(PAIR, NICEConfig(hidden=(4,)))
    assert bool(model.draw_base(1, None).isfinite().all())


def test_gaussian_noise_through_a_linear_map_is_a_gaussian() -> None:
    """Couplings without effect: the density is that of independent normals, cell for cell."""
    model = NICE(PAIR, NICEConfig(hidden=(4,), prior="gaussian", pixels="centre")).double()
    norm = model.layers[-1]
    with torch.no_grad():
        norm.shift.copy_(torch.tensor([0.1, -0.2]))
        norm.log_scale.copy_(torch.tensor([1.0, 2.0]))
    v = torch.rand(7, 1, 1, 2, generator=rng()).double()
    law = torch.distributions.Normal(norm.shift + 0.5, (-norm.log_scale).exp())
    assert torch.allclose(model.log_density(v), law.log_prob(v.flatten(1)).sum(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("prior", ["logistic", "gaussian"])
def test_training_lowers_the_bound_and_starts_from_the_first_batch(prior: str) -> None:
    x, _ = structured_images(ODD, 400)
    model = NICE(ODD, NICEConfig(couplings=3, hidden=(32,), prior=prior))
    step = LocalStep(model, lr=3e-3)
    step.run(Batch(x[:200]))
    z = model.encode(x[:200])
    assert bool((z.mean(0).abs() < 0.2).all()), "the first step moves what was just set by a little"
    assert bool(((z.std(0) - 1).abs() < 0.3).all())
    losses = [float(step.run(Batch(x[i % 2 * 200 :][:200]))["loss"]) for i in range(150)]
    assert losses[-1] < losses[0] - 0.4


def test_codes_give_images_back_and_lines_end_in_them() -> None:
    x, _ = structured_images(COLOUR, 20)
    model = make(COLOUR).float()
    assert torch.equal(model.decode(model.encode(x)), x)
    line = model.interpolate(x[0], x[1], 5)
    assert torch.equal(line[[0, -1]], x[:2])


def test_cold_samples_are_the_mode_and_hotter_ones_spread() -> None:
    model = make(ODD)
    cold = model.sample(4, temperature=0.0, generator=rng())
    assert torch.equal(cold, model.decode(torch.zeros(4, 9)))
    spread = [model.encode(model.sample(200, temperature=t, generator=rng())).abs().mean() for t in (0.2, 0.6)]
    assert spread[0] < spread[1]


def test_bad_input() -> None:
    with pytest.raises(ZooError, match="2 pixels or more"):
        NICE(ImageSpec(channels=1, height=1, width=1), NICEConfig())
    with pytest.raises(ZooError, match="couplings: expected at least 2"):
        NICEConfig(couplings=1)
    with pytest.raises(ZooError, match="hidden: expected one or more widths"):
        NICEConfig(hidden=())
    with pytest.raises(ZooError, match="at least 2 images"):
        LocalStep(NICE(ODD, NICEConfig(hidden=(4,)))).run(Batch(structured_images(ODD, 1)[0]))
    with pytest.raises(ZooError, match="temperature >= 0"):
        make().sample(2, temperature=-1.0)
    with pytest.raises(ZooError, match=r"expected noise \(N, 9\)"):
        make().decode(torch.zeros(2, 8))


def test_half_precision_and_compilation_are_of_the_networks_alone() -> None:
    images = ImageSpec(channels=1, height=8, width=8, levels=17)
    x = structured_images(images, 20)[0]
    model = NICE(images, NICEConfig(hidden=(32, 32)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng(3)))
    batch = Batch(x).with_(u=torch.rand(x.shape, generator=rng()))
    exact = model.loss(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.loss(batch)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=2e-2, atol=0)
    for layer in model.layers[1:-1]:
        layer.m.compile(backend="aot_eager")
    torch.testing.assert_close(model.loss(batch), exact, rtol=1e-5, atol=1e-5)
