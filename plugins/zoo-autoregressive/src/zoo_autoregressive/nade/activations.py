"""V_d h_d of all pixels of a NADE: N x D x H hidden activations, of which only a few pixels' are ever in memory.

    h_d = sigma(a_d),    a_d = c + sum_{e<d} W_{.,e} x_e

The pixels are taken in blocks that stay in the cache: a block's sums are those before it, plus one matrix product for
all its pixels. Going back, the sums before a block are those behind it less the block's own part, so the forward
pass leaves nothing behind but the last sums, and the backward pass computes the activations a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CACHE = 2**18  # activations of a block, 1 MB in float32
MOST_INPUTS = 32  # of a block: each activation in it costs as many multiplications as the block has inputs


def activations(x: Tensor, encoder: Tensor, hidden_bias: Tensor, decoder: Tensor) -> Tensor:
    """V_d sigma(c + W_{.,<d} x_<d) for each pixel d, `(N, D, P)`.

    x: inputs without those of the last pixel, `(N, D-1, E)`; no gradient flows to them. encoder: W^T, `((D-1)*E, H)`.
    hidden_bias: c, `(H,)`. decoder: V, `(D, P, H)`. All of one dtype, which autocast does not change: running sums of
    hundreds of terms need it.
    """
    v: Tensor = _Activations.apply(x, encoder, hidden_bias, decoder)  # type: ignore[no-untyped-call]
    return v.transpose(0, 1)  # (D, N, P) -> (N, D, P)


class _Activations(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, encoder: Tensor, hidden_bias: Tensor, decoder: Tensor) -> Tensor:
        sums = hidden_bias.repeat(len(x), 1)  # a_d of the block's first pixel, (N, H)
        out = sums.new_empty(len(decoder), len(x), decoder.shape[1])
        memory = _memory(sums, x)
        with torch.autocast(x.device.type, enabled=False):
            for block in _blocks(x, encoder, decoder, len(memory)):
                h = block.hidden(sums, memory)  # (B, N, H)
                torch.bmm(h, block.decoder.transpose(1, 2), out=out[block.start : block.stop])
                sums.addmm_(block.flat, block.encoder)
        ctx.save_for_backward(x, encoder, decoder, sums)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:
        x, encoder, decoder, last = ctx.saved_tensors
        sums, later = last.clone(), torch.zeros_like(last)  # later: sum of dL/da_e over the pixels e behind the block
        d_encoder, d_decoder = torch.empty_like(encoder), torch.empty_like(decoder)
        memory, d_memory = _memory(sums, x), _memory(sums, x)
        with torch.autocast(x.device.type, enabled=False):
            for block in reversed(list(_blocks(x, encoder, decoder, len(memory)))):
                sums.addmm_(block.flat, block.encoder, alpha=-1)
                h = block.hidden(sums, memory)  # (B, N, H)
                grads = grad[block.start : block.stop]  # (B, N, P)
                torch.bmm(grads.transpose(1, 2), h, out=d_decoder[block.start : block.stop])
                d_sums = d_memory[: len(h)]  # dL/da
                if grads.shape[2] == 1:
                    torch.mul(grads, block.decoder, out=d_sums)  # an outer product, which bmm is slow at
                else:
                    torch.bmm(grads, block.decoder, out=d_sums)
                torch.ops.aten.sigmoid_backward.grad_input(d_sums, h, grad_input=d_sums)
                d_columns = torch.mm(block.flat.t(), later, out=block.rows_of(d_encoder))  # (B*E, H)
                if block.within is not None:
                    d_columns.addmm_(block.within.t(), d_sums.flatten(0, 1))
                later += d_sums.sum(0)
        return None, d_encoder, later.sum(0), d_decoder


class _Block:
    """Pixels start .. stop-1. flat: their inputs, `(N, B*E)`, fewer where the last pixel is among them.

    within: the inputs of the block that each pixel of the block sees, `(B*N, B*E)`; None if there are none.
    """

    def __init__(self, x: Tensor, encoder: Tensor, decoder: Tensor, start: int, size: int) -> None:
        parents, inputs = x[:, start : start + size], x.shape[2]  # (N, B, E)
        self.start, self.stop = start, min(start + size, len(decoder))
        self.decoder = decoder[self.start : self.stop]
        self.flat = parents.flatten(1)
        self.rows = slice(start * inputs, start * inputs + self.flat.shape[1])
        self.encoder = self.rows_of(encoder)
        self.within: Tensor | None = None
        if self.stop - start > 1:
            seen = x.new_ones(self.stop - start, parents.shape[1]).tril(-1)[:, None, :, None]  # (B, 1, B, 1)
            self.within = (seen * parents).flatten(2).flatten(0, 1)

    def rows_of(self, encoder: Tensor) -> Tensor:
        """The block's part of W^T, `(B*E, H)`."""
        return encoder[self.rows]

    def hidden(self, sums: Tensor, memory: Tensor) -> Tensor:
        """h_d of the block's pixels, in `memory`, `(B, N, H)`. sums: a_d of its first pixel."""
        h = memory[: self.stop - self.start].copy_(sums)
        if self.within is not None:
            h.flatten(0, 1).addmm_(self.within, self.encoder)
        return h.sigmoid_()


def _blocks(x: Tensor, encoder: Tensor, decoder: Tensor, size: int) -> Iterator[_Block]:
    return (_Block(x, encoder, decoder, start, size) for start in range(0, len(decoder), size))


def _memory(sums: Tensor, x: Tensor) -> Tensor:
    """For the activations of a block: (B, N, H)."""
    size = min(CACHE // max(sums.numel(), 1), MOST_INPUTS // x.shape[2], x.shape[1] + 1)
    return sums.new_empty(max(size, 1), *sums.shape)
