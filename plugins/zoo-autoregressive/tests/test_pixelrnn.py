"""PixelRNN: equation 3 in plain loops, its derivative, dropout, what the layers see, and what it costs to sample."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from zoo_autoregressive.causal import channel_groups
from zoo_autoregressive.configs import PixelRNNConfig, RowLSTMConfig
from zoo_autoregressive.dependence import depends_on
from zoo_autoregressive.pixelrnn.layers import FORGET_BIAS, DiagonalBiLSTM, RecurrentLayer, RowLSTM
from zoo_autoregressive.pixelrnn.lstm import Path, Reorder, diagonals, recur, rows
from zoo_autoregressive.pixelrnn.model import DiagonalPixelRNN, PixelRNN, RowPixelRNN

from zoo_core import ImageSpec, ZooError

GREY = ImageSpec(channels=1, height=9, width=9, levels=4)
both = pytest.mark.parametrize("kind", [RowPixelRNN, DiagonalPixelRNN], ids=lambda kind: kind.__name__)

PATHS = [
    (rows(3, 4, 2, 3), [(-1, -1), (-1, 0), (-1, 1)], 1),
    (rows(3, 2, 1, 5), [(-1, -2), (-1, -1), (-1, 0), (-1, 1), (-1, 2)], 2),
    (rows(1, 3, 2, 3), [(-1, -1), (-1, 0), (-1, 1)], 1),
    (diagonals(3, 4, 2), [(-1, 0), (0, -1)], 1),
    (diagonals(4, 2, 1, mirrored=True), [(-1, 0), (0, 1)], 1),
    (diagonals(1, 3, 2), [(-1, 0), (0, -1)], 1),
    (diagonals(3, 1, 2, mirrored=True), [(-1, 0), (0, 1)], 1),
    (diagonals(1, 1, 2), [(-1, 0), (0, -1)], 1),
]
SIZES = [(3, 4), (3, 2), (1, 3), (3, 4), (4, 2), (1, 3), (3, 1), (1, 1)]
every_path = pytest.mark.parametrize(
    ("path", "offsets", "carry", "size"), [(*path, size) for path, size in zip(PATHS, SIZES)], ids=range(len(PATHS))
)


def positive(model: PixelRNN, low: float = 0.02, high: float = 0.2) -> PixelRNN:
    """In float64, with random weights that are positive, so that no ReLU hides what is seen."""
    torch.manual_seed(1)
    for parameter in model.double().eval().parameters():
        torch.nn.init.uniform_(parameter, low, high)
    return model


def of(kind: type[PixelRNN], images: ImageSpec, **fields: object) -> PixelRNN:
    config = RowLSTMConfig(**fields) if kind is RowPixelRNN else PixelRNNConfig(**fields)  # type: ignore[arg-type]
    return kind(images, config)


def noisy(layer: RecurrentLayer) -> RecurrentLayer:
    torch.manual_seed(2)
    for parameter in layer.double().parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    return layer


@every_path
def test_a_path_meets_each_pixel_once_and_links_it_to_its_neighbours(
    path: Path, offsets: list[tuple[int, int]], carry: int, size: tuple[int, int]
) -> None:
    height, width = size
    assert sorted(path.pixels) == list(range(height * width))
    n = path.steps[-1].places.stop // (height * width)
    pixels = torch.tensor(path.pixels).repeat_interleave(n)  # of each place
    links = set()
    for step in path.steps:
        for tap, link in enumerate(step.taps):
            if link is not None:
                assert link[0].stop - link[0].start == link[1].stop - link[1].start > 0
                links |= {(tap, *pair) for pair in zip(pixels[link[0]].tolist(), pixels[link[1]].tolist())}
    expected = {
        (tap, i * width + j, (i + up) * width + j + right)
        for (i, j), (tap, (up, right)) in itertools.product(
            itertools.product(range(height), range(width)), enumerate(offsets)
        )
        if i + up >= 0 and 0 <= j + right < width
    }
    assert links == expected


@every_path
def test_the_derivative_is_that_of_finite_differences(
    path: Path, offsets: list[tuple[int, int]], carry: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    n = path.steps[-1].places.stop // len(path.pixels)
    x = torch.randn(len(path.pixels), n, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(len(offsets), 2, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, weight: recur(x, weight, path.steps, carry), (x, weight))


def test_a_permutation_and_its_derivative() -> None:
    x = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    assert torch.equal(Reorder.apply(x, order, order.argsort()), x[order])  # type: ignore[no-untyped-call]
    assert torch.autograd.gradcheck(lambda x: Reorder.apply(x, order, order.argsort()), (x,))


def test_autocast_leaves_the_recurrence_alone() -> None:
    path = diagonals(3, 3, 2)
    x, weight = torch.randn(9, 2, 8).bfloat16(), torch.randn(2, 2, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = recur(x, weight, path.steps, 1)
    assert h.dtype == torch.float32 and torch.equal(h, recur(x.float(), weight, path.steps, 1))


def cell(sums: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 3 for one pixel: c and h. sums: `(N, 4h)`. before: c_{i-1}, `(N, h)`."""
    o, f, i, g = sums.chunk(4, 1)
    c = f.sigmoid() * before + i.sigmoid() * g.tanh()
    return c, o.sigmoid() * c.tanh()


def own_mask(wide: Tensor, hidden: Tensor) -> Tensor:
    """Mask B, `(4h, 2h)`: of its own pixel a gate of channel c sees the features of channels up to c."""
    return torch.tensor([[float(w <= g) for w in wide] for g in [*hidden] * 4], dtype=torch.float64)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kernel", [3, 5])
@torch.no_grad()
def test_a_row_lstm_is_equation_3_in_a_loop(kernel: int, channels: int) -> None:
    wide, hidden = channel_groups(6, channels), channel_groups(3, channels)
    layer = noisy(RowLSTM(wide, hidden, kernel))
    height, width, n, h, side = 4, 5, 2, 3, kernel // 2
    x = torch.randn(height, width, n, 6, dtype=torch.float64)
    state = layer.weight[0, :, : kernel * h].unflatten(1, (kernel, h))  # K^ss (4h, kernel, h)
    taps = list(layer.weight[0, :, kernel * h :].unflatten(1, (side + 1, 6)).unbind(1))  # K^is, side + 1 of (4h, 2h)
    taps[-1] = taps[-1] * own_mask(wide, hidden)
    zero = x.new_zeros(n, h)
    c: dict[tuple[int, int], Tensor] = {}
    s: dict[tuple[int, int], Tensor] = {}
    for i, j in itertools.product(range(height), range(width)):
        sums = layer.bias.expand(n, -1)
        for k in range(kernel):
            sums = sums + s.get((i - 1, j + k - side), zero) @ state[:, k].T
        for k in range(side + 1):
            if j + k - side >= 0:
                sums = sums + x[i, j + k - side] @ taps[k].T
        c[i, j], s[i, j] = cell(sums, c.get((i - 1, j), zero))
    expected = torch.stack([s[i, j] for i, j in itertools.product(range(height), range(width))]).view(
        height, width, n, h
    )
    assert torch.allclose(layer.states(x), expected, rtol=0, atol=1e-12)
    mixed = layer.up.weight[:, :, 0, 0] * (hidden <= wide[:, None])  # figure 5: a 1x1 convolution under mask B
    assert torch.allclose(layer(x), expected @ mixed.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(4, 5), (5, 2), (1, 4), (3, 1)])
@torch.no_grad()
def test_a_diagonal_bilstm_is_equation_3_in_two_loops(size: tuple[int, int], channels: int) -> None:
    wide, hidden = channel_groups(6, channels), channel_groups(3, channels)
    layer = noisy(DiagonalBiLSTM(wide, hidden))
    (height, width), n, h = size, 2, 3
    x = torch.randn(height, width, n, 6, dtype=torch.float64)
    zero = x.new_zeros(n, h)
    expected = x.new_zeros(height, width, n, h)
    for direction, (weight, bias) in enumerate(zip(layer.weight, layer.bias.chunk(2))):
        above, beside, own = weight[:, :h], weight[:, h : 2 * h], weight[:, 2 * h :] * own_mask(wide, hidden)
        step = -1 if direction else 1  # from the left, then from the right
        c: dict[tuple[int, int], Tensor] = {}
        s: dict[tuple[int, int], Tensor] = {}
        for i, j in itertools.product(range(height), range(width)[::step]):
            up, back = s.get((i - 1, j), zero), s.get((i, j - step), zero)
            sums = bias + x[i, j] @ own.T + up @ above.T + back @ beside.T
            c[i, j], s[i, j] = cell(sums, c.get((i, j - step), zero))
            if direction == 0:
                expected[i, j] += s[i, j]
            elif i + 1 < height:
                expected[i + 1, j] += s[i, j]  # one row further down
    assert torch.allclose(layer.states(x), expected, rtol=0, atol=1e-12)


def drops(model: PixelRNN, s: Tensor, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """x before and after each dropout of a pass."""
    seen: list[tuple[Tensor, Tensor]] = []
    drop = model._drop

    def recorded(x: Tensor) -> Tensor:
        seen.append((x, drop(x)))
        return seen[-1][1]

    with monkeypatch.context() as patch:
        patch.setattr(model, "_drop", recorded)
        model.logits(s)
    return seen


@both
@torch.no_grad()
def test_dropout_is_on_the_way_up_and_never_along_the_recurrence(
    kind: type[PixelRNN], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes into layers and head is dropped. Within a layer nothing is, nor on the residual way past it."""
    torch.manual_seed(0)
    model = of(kind, GREY, width=8, layers=2, dropout=0.5).double()
    s = torch.randint(4, (6, 81), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    passed = drops(model.train(), s, monkeypatch)
    columns = GREY.width + model.beyond
    assert [x.shape for x, _ in passed] == [(9, columns, 6, 16)] * 2 + [(9, 9, 6, 16)]  # 2h features
    for x, dropped in passed:
        kept = dropped != 0
        assert 0.45 < float(kept.double().mean()) < 0.55
        assert torch.allclose(dropped[kept], 2 * x[kept])
    for layer, (x, dropped), (after, _) in zip(model.layers, passed, passed[1:]):
        again = x + layer(dropped)  # a layer in training is a function of what goes in: nothing random inside
        assert torch.equal(again[:, : after.shape[1]], after)
    assert all(torch.equal(x, dropped) for x, dropped in drops(model.eval(), s, monkeypatch))


@both
@torch.no_grad()
def test_states_go_on_where_all_inputs_are_dropped(kind: type[PixelRNN]) -> None:
    """Only one pixel of the first row keeps its features: all states below it know of them."""
    layer = noisy(of(kind, GREY, width=4).layers[0])
    x = torch.zeros(5, 5, 1, 8, dtype=torch.float64)
    silent = layer.states(x)
    x[0, 2] = 1.0
    moved = (layer.states(x) - silent).abs().amax((2, 3)) > 0
    assert bool(moved[:, 2].all())


@pytest.mark.parametrize(("kernel", "input_kernel", "layers"), [(3, 7, 2), (5, 3, 1), (3, 3, 3)])
@pytest.mark.parametrize("place", [(0, 0), (2, 7), (5, 3), (8, 0), (8, 8), (4, 8)])
def test_a_row_lstm_sees_the_triangle_that_it_says(
    kernel: int, input_kernel: int, layers: int, place: tuple[int, int]
) -> None:
    model = positive(of(RowPixelRNN, GREY, width=3, layers=layers, head=6, kernel=kernel, input_kernel=input_kernel))
    assert isinstance(model, RowPixelRNN)
    row, column = place
    d = row * GREY.width + column
    seen = model.seen(row, column).flatten()
    assert torch.equal(depends_on(model, d), seen)
    assert not bool(seen[d:].any()) and bool(seen.any()) == (d > 0)


def test_the_blind_spot_of_a_row_lstm_is_there() -> None:
    model = of(RowPixelRNN, GREY, layers=1, kernel=3, input_kernel=3)
    assert isinstance(model, RowPixelRNN)
    assert not bool(model.seen(8, 4)[7, 6]) and bool(model.seen(8, 4)[7, 5])  # two columns to the right, a row up
    assert bool(model.seen(8, 4)[4].all()) and not bool(model.seen(8, 0)[4, 5])


@pytest.mark.parametrize("place", [(8, 8), (8, 0), (5, 3), (1, 0), (1, 8), (0, 8)])
def test_a_diagonal_bilstm_sees_every_earlier_pixel(place: tuple[int, int]) -> None:
    model = positive(of(DiagonalPixelRNN, GREY, width=3, layers=1, head=6, input_kernel=3), 0.1, 0.4)
    d = place[0] * GREY.width + place[1]
    assert depends_on(model, d).tolist() == [e < d for e in range(81)]


@both
@pytest.mark.parametrize("c", [0, 1, 2])
def test_colours_of_a_pixel_see_those_before_them(kind: type[PixelRNN], c: int) -> None:
    images = ImageSpec(channels=3, height=2, width=2, levels=4)
    d = 2 * 3 + c  # the pixel (1, 0)
    assert depends_on(positive(of(kind, images, width=6, head=12)), d).tolist() == [e < d for e in range(12)]


@both
@torch.no_grad()
def test_a_fresh_network_takes_all_images_for_equally_likely(kind: type[PixelRNN]) -> None:
    x = torch.randint(4, (3, *GREY.shape), dtype=torch.uint8)
    assert torch.allclose(of(kind, GREY).log_conditionals(x), -torch.tensor(4.0).log())


@both
def test_forget_gates_start_open(kind: type[PixelRNN]) -> None:
    layer = of(kind, GREY, width=4).layers[0]
    for bias in layer.bias.view(-1, 4, 4):  # o, f, i, g of each direction
        assert bias.tolist() == [[0.0] * 4, [FORGET_BIAS] * 4, [0.0] * 4, [0.0] * 4]


@both
def test_groups_need_a_feature_each(kind: type[PixelRNN]) -> None:
    with pytest.raises(ZooError, match=r"head: expected at least 3 features.*got 2"):
        of(kind, ImageSpec(channels=3, height=4, width=4), head=2)


@pytest.mark.parametrize(
    ("config", "fields", "words"),
    [
        (RowLSTMConfig, {"kernel": 4}, "an odd number"),
        (RowLSTMConfig, {"kernel": 1}, "at least 3"),
        (PixelRNNConfig, {"input_kernel": 6}, "an odd number"),
        (PixelRNNConfig, {"width": 0}, "at least 1"),
        (PixelRNNConfig, {"layers": 0}, "at least 1"),
        (PixelRNNConfig, {"dropout": 1.0}, "a share"),
        (PixelRNNConfig, {"weight_decay": -1.0}, "0 or more"),
        (PixelRNNConfig, {"inputs": "scale"}, "did you mean 'scaled'"),
    ],
)
def test_configs_that_make_no_model_are_refused(
    config: type[PixelRNNConfig], fields: dict[str, object], words: str
) -> None:
    with pytest.raises(ZooError, match=words):
        config(**fields)  # type: ignore[arg-type]
