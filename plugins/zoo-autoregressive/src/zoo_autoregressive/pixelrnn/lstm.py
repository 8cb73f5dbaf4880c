"""The recurrence of PixelRNN's layers: an LSTM that goes over an image step by step, many pixels in each step.

van den Oord, Kalchbrenner, Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, https://arxiv.org/abs/1601.06759:

    [o_i, f_i, i_i, g_i] = sigma(K^ss * h_{i-1} + K^is * x_i)        sigma is tanh for the content gate g
    c_i = f_i c_{i-1} + i_i g_i
    h_i = o_i tanh(c_i)                                                                                      (eq. 3)

A step is a row (Row LSTM) or a diagonal (Diagonal BiLSTM) of the image; the convolution K^ss has a tap for each pixel
of the step before that a pixel looks at. K^is * x is known for all steps beforehand.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Link = tuple[slice, slice]  # places of this step, and the places of the step before that they look at


class Step(NamedTuple):
    """The places of a step, and what each tap of the state-to-state convolution connects them with.

    A pixel has n places in a row, one for each image of the batch.
    """

    places: slice
    taps: tuple[Link | None, ...]  # None where nothing of the step before is inside the image


class Path(NamedTuple):
    """The way over n images: the numbers (in raster order) of the pixels that it meets, and the steps it takes."""

    pixels: tuple[int, ...]
    steps: tuple[Step, ...]


@functools.lru_cache(maxsize=64)
def rows(height: int, width: int, n: int, kernel: int) -> Path:
    """Row by row. Tap k of a pixel is the pixel above, k - kernel // 2 columns to the right."""
    offsets = [k - kernel // 2 for k in range(kernel)]
    return Path(tuple(range(height * width)), _steps([(0, width)] * height, offsets, n))


@functools.lru_cache(maxsize=64)
def diagonals(height: int, width: int, n: int, mirrored: bool = False) -> Path:
    """Diagonal by diagonal, i + j = 0, 1, ...; tap 0 is the pixel above, tap 1 the one to the left.

    What skewing does in the paper, where row i is moved to the right by i so that diagonals become columns; but no
    place is spent on the corners outside the image. mirrored: from right to left, tap 1 is the pixel to the right.
    """
    bounds = [(max(0, t - width + 1), min(height, t + 1)) for t in range(height + width - 1)]  # rows of a diagonal
    columns = [(i, t - i) for t, (start, stop) in enumerate(bounds) for i in range(start, stop)]
    pixels = (i * width + (width - 1 - j if mirrored else j) for i, j in columns)
    return Path(tuple(pixels), _steps(bounds, [-1, 0], n))


def _steps(bounds: list[tuple[int, int]], offsets: list[int], n: int) -> tuple[Step, ...]:
    """bounds: which of the lines (columns, or rows) a step goes over. offsets: the lines that each tap looks at."""
    steps, at, before, last = [], 0, 0, (0, 0)
    for start, stop in bounds:
        taps: list[Link | None] = []
        for offset in offsets:
            first, end = max(start, last[0] - offset), min(stop, last[1] - offset)
            here, there = at - start, before + offset - last[0]  # of line 0, were it in these steps
            link = _places(first + here, end + here, n), _places(first + there, end + there, n)
            taps.append(link if first < end else None)
        steps.append(Step(_places(at, at + stop - start, n), tuple(taps)))
        before, at, last = at, at + stop - start, (start, stop)
    return tuple(steps)


def _places(start: int, stop: int, n: int) -> slice:
    return slice(start * n, stop * n)


def recur(x: Tensor, weight: Tensor, steps: tuple[Step, ...], carry: int) -> Tensor:
    """h of the pixels of a path, `(pixels, N, h)`, by equation 3.

    x: K^is * x and biases, `(pixels, N, 4h)`, gates in the order o, f, i, g. weight: K^ss, `(taps, h, 4h)`.
    carry: the tap along which the cells c go on.
    """
    with torch.autocast(x.device.type, enabled=False):  # running sums of half precision would drift
        h: Tensor = Recurrence.apply(x.to(weight.dtype), weight, steps, carry)  # type: ignore[no-untyped-call]
    return h


class Recurrence(torch.autograd.Function):
    """Written out with its derivative: what autograd would do in ten small operations for each step takes five."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, steps: tuple[Step, ...], carry: int) -> Tensor:
        n, width = x.shape[1], weight.shape[1]
        gates = x.reshape(-1, 4 * width).clone()  # (places, 4h)
        cell, squashed, h = (gates.new_empty(len(gates), width) for _ in range(3))  # c, tanh(c), h
        outer, content = gates[:, : 3 * width], gates[:, 3 * width :]  # o, f, i, and g
        o, f, i, g = gates.split(width, 1)
        for step in steps:
            for tap, link in enumerate(step.taps):
                if link is not None:
                    gates[link[0]].addmm_(h[link[1]], weight[tap])
            at = step.places
            outer[at].sigmoid_()
            content[at].tanh_()
            c = torch.mul(i[at], g[at], out=cell[at])
            if (link := step.taps[carry]) is not None:
                cell[link[0]].addcmul_(f[link[0]], cell[link[1]])
            torch.mul(o[at], torch.tanh(c, out=squashed[at]), out=h[at])
        ctx.save_for_backward(weight, gates, cell, squashed, h)
        ctx.steps, ctx.carry, ctx.n = steps, carry, n
        return h.view(-1, n, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[override]
        weight, gates, cell, squashed, h = ctx.saved_tensors
        width, steps = weight.shape[1], ctx.steps
        o, f, i, g = gates.split(width, 1)
        before = torch.zeros_like(cell)  # c of the step before
        for step in steps:
            if (link := step.taps[ctx.carry]) is not None:
                before[link[0]] = cell[link[1]]
        # What each gate's sum does to h or c, for all places at once; the steps then multiply by dL/dh and dL/dc.
        slope = torch.empty_like(gates)  # (places, 4h)
        torch.mul(squashed * o, 1 - o, out=slope[:, :width])
        torch.mul(before * f, 1 - f, out=slope[:, width : 2 * width])
        torch.mul(g * i, 1 - i, out=slope[:, 2 * width : 3 * width])
        torch.mul(i, 1 - g * g, out=slope[:, 3 * width :])
        through = o * (1 - squashed * squashed)  # dh/dc
        transposed = weight.transpose(1, 2).contiguous()

        dh = grad.reshape(-1, width).clone()
        dc, dx, dweight = torch.zeros_like(cell), slope, torch.zeros_like(weight)
        dx_o, dx_fig = dx[:, :width], dx[:, width:].unflatten(1, (3, width))
        for step in reversed(steps):
            at = step.places
            dc[at].addcmul_(dh[at], through[at])
            dx_o[at].mul_(dh[at])
            dx_fig[at].mul_(dc[at].unsqueeze(1))
            if (link := step.taps[ctx.carry]) is not None:
                dc[link[1]].addcmul_(dc[link[0]], f[link[0]])
            for tap, link in enumerate(step.taps):
                if link is not None:
                    dh[link[1]].addmm_(dx[link[0]], transposed[tap])
                    dweight[tap].addmm_(h[link[1]].t(), dx[link[0]])
        return dx.view(-1, ctx.n, 4 * width), dweight, None, None


class Reorder(torch.autograd.Function):
    """x[order] for a permutation of dimension 0; the derivative is the inverse permutation, not a sum by index."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return x.index_select(0, order)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (inverse,) = ctx.saved_tensors
        return grad.index_select(0, inverse), None, None
