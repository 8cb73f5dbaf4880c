"""PixelRNN: equation 3 against plain loops, its derivative, what each layer sees, dropout off the recurrence."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch
from torch import Tensor
from zoo_autoregressive.ancestral import generate
from zoo_autoregressive.causal import channel_groups
from zoo_autoregressive.configs import PixelRNNConfig, RowLSTMConfig
from zoo_autoregressive.dependence import depends_on
from zoo_autoregressive.lstm import diagonals, recur, rows
from zoo_autoregressive.pixelrnn import DiagonalPixelRNN, PixelRNN, RowPixelRNN
from zoo_autoregressive.pixelrnn_layers import DiagonalBiLSTM, RowLSTM

from zoo_core import ImageSpec, ZooError

GREY = ImageSpec(channels=1, height=9, width=9, levels=4)
WIDE, HIDDEN, H = channel_groups(6, 1), channel_groups(3, 1), 3


def positive(model: PixelRNN) -> PixelRNN:
    """In float64, with small positive weights, so that nothing hides what is seen."""
    torch.manual_seed(1)
    for parameter in model.double().eval().parameters():
        torch.nn.init.uniform_(parameter, 0.01, 0.1)
    return model


def cell(sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 3. sums: `(N, 4h)` in the order o, f, i, g."""
    o, f, i, g = sums.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@torch.no_grad()
def test_a_row_lstm_is_equation_3_pixel_by_pixel() -> None:
    torch.manual_seed(0)
    layer = RowLSTM(WIDE, HIDDEN, 3).double()
    height, width, n = 4, 5, 2
    x = torch.randn(height, width, n, 6).double()
    ((state, weight, bias),) = layer.parts()  # (3, h, 4h), (4h, 2 * 6), (4h,)
    zero = torch.zeros(n, H).double()
    h, c = ([[zero] * (width + 2) for _ in range(height + 1)] for _ in range(2))
    for i in range(height):
        for j in range(width):
            left = x[i, j - 1] if j else torch.zeros(n, 6).double()
            sums = torch.cat([left, x[i, j]], 1) @ weight.t() + bias
            for k in range(3):  # of the row above: columns j-1, j, j+1
                sums = sums + h[i][j + k] @ state[k]
            h[i + 1][j + 1], c[i + 1][j + 1] = cell(sums, c[i][j + 1])
    expected = torch.stack([torch.stack(row[1:-1]) for row in h[1:]])
    assert torch.allclose(layer.states(x), expected)


@torch.no_grad()
def test_a_diagonal_bilstm_is_equation_3_pixel_by_pixel() -> None:
    torch.manual_seed(0)
    layer = DiagonalBiLSTM(WIDE, HIDDEN).double()
    height, width, n = 4, 5, 2
    x = torch.randn(height, width, n, 6).double()
    zero = torch.zeros(n, H).double()

    def run(direction: int, columns: range, step: int) -> dict[tuple[int, int], Tensor]:
        state, weight, bias = layer.parts()[direction]
        h: dict[tuple[int, int], Tensor] = {}
        c: dict[tuple[int, int], Tensor] = {}
        for i in range(height):
            for j in columns:
                sums = x[i, j] @ weight.t() + bias
                sums = sums + h.get((i - 1, j), zero) @ state[0] + h.get((i, j - step), zero) @ state[1]
                h[i, j], c[i, j] = cell(sums, c.get((i, j - step), zero))
        return h

    forward, backward = run(0, range(width), 1), run(1, range(width)[::-1], -1)
    found = layer.states(x)
    for i in range(height):
        for j in range(width):
            above = backward[i - 1, j] if i else zero  # moved down by one row
            assert torch.allclose(found[i, j], forward[i, j] + above)


@pytest.mark.parametrize(
    ("path", "carry"), [(rows(3, 4, 2, 3), 1), (diagonals(3, 2, 2), 1), (diagonals(2, 3, 2, mirrored=True), 1)]
)
def test_the_derivative_of_the_recurrence_is_autograd_s(path: object, carry: int) -> None:
    torch.manual_seed(0)
    taps, pixels = len(path.steps[0].taps), len(path.pixels)
    x = torch.randn(pixels, 2, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(taps, 2, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: recur(x, w, path.steps, carry), (x, weight))


def test_diagonals_meet_every_pixel_once_and_before_those_that_look_at_it() -> None:
    for height, width in [(1, 1), (1, 5), (5, 1), (3, 4), (4, 3)]:
        for mirrored in (False, True):
            pixels = diagonals(height, width, 1, mirrored).pixels
            assert sorted(pixels) == list(range(height * width))
            place = {pixel: k for k, pixel in enumerate(pixels)}
            side = 1 if mirrored else -1
            for i in range(height):
                for j in range(width):
                    assert i == 0 or place[(i - 1) * width + j] < place[i * width + j]
                    assert not 0 <= j + side < width or place[i * width + j + side] < place[i * width + j]


@pytest.mark.parametrize("place", [(5, 3), (8, 0), (4, 8), (8, 8)])
@pytest.mark.parametrize(("kernel", "layers", "input_kernel"), [(3, 1, 3), (3, 2, 3), (5, 1, 7)])
def test_a_row_lstm_sees_a_triangle(kernel: int, layers: int, input_kernel: int, place: tuple[int, int]) -> None:
    config = RowLSTMConfig(width=4, layers=layers, kernel=kernel, input_kernel=input_kernel, head=8)
    model = positive(RowPixelRNN(GREY, config))
    row, column = place
    assert isinstance(model, RowPixelRNN)
    seen = depends_on(model, row * 9 + column, tolerance=0.0)
    assert torch.equal(seen, model.seen(row, column).flatten())


@pytest.mark.parametrize("place", [(0, 0), (5, 3), (8, 0), (4, 8), (8, 8)])
def test_a_diagonal_bilstm_sees_every_earlier_pixel(place: tuple[int, int]) -> None:
    model = positive(DiagonalPixelRNN(GREY, PixelRNNConfig(width=4, layers=1, input_kernel=3, head=8)))
    d = place[0] * 9 + place[1]
    assert torch.equal(depends_on(model, d, tolerance=0.0), torch.arange(81) < d)


@pytest.mark.parametrize("kind", [RowPixelRNN, DiagonalPixelRNN])
def test_dropout_is_on_what_goes_into_a_layer_and_never_along_a_recurrence(
    kind: type[PixelRNN], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps are dropped where they enter each layer and the head: one more place than there are layers."""
    config = RowLSTMConfig if kind is RowPixelRNN else PixelRNNConfig
    model = kind(GREY, config(width=4, layers=3, dropout=0.5, head=8)).train()
    dropped: list[tuple[int, ...]] = []
    dropout = torch.nn.functional.dropout

    def watched(x: Tensor, p: float, training: bool) -> Tensor:
        dropped.append(tuple(x.shape))
        return dropout(x, p, training)

    monkeypatch.setattr(torch.nn.functional, "dropout", watched)
    s = torch.zeros(2, 81, dtype=torch.uint8)
    model.logits(s)
    columns = 9 + model.beyond
    assert dropped == [(9, columns, 2, 8)] * 3 + [(9, 9, 2, 8)]
    assert torch.equal(model.eval().logits(s), model.logits(s))


@pytest.mark.parametrize(
    ("config", "fields", "words"),
    [
        (RowLSTMConfig, {"kernel": 2}, "an odd number"),
        (PixelRNNConfig, {"input_kernel": 1}, "at least 3"),
        (PixelRNNConfig, {"layers": 0}, "at least 1"),
        (PixelRNNConfig, {"dropout": 1.5}, r"a share in \[0, 1\)"),
    ],
)
def test_configs_that_make_no_model_are_refused(config: type, fields: dict[str, object], words: str) -> None:
    with pytest.raises(ZooError, match=words):
        config(**fields)


@pytest.mark.parametrize("kind", [RowPixelRNN, DiagonalPixelRNN])
@torch.no_grad()
def test_incremental_sampling_is_ten_times_faster(kind: type[PixelRNN]) -> None:
    images = dataclasses.replace(GREY, height=20, width=20, levels=2)
    model = kind(images, (RowLSTMConfig if kind is RowPixelRNN else PixelRNNConfig)(layers=1)).eval()
    u = torch.rand(8, images.dims)
    generate(model, u)

    def seconds() -> tuple[float, float]:
        start = time.perf_counter()
        generate(model, u)
        middle = time.perf_counter()
        for _ in range(10):  # of 400 passes
            model.logits(torch.zeros(8, images.dims, dtype=torch.uint8))
        return middle - start, (time.perf_counter() - middle) * images.dims / 10

    assert any(naive > 10 * fast for fast, naive in (seconds() for _ in range(5)))
