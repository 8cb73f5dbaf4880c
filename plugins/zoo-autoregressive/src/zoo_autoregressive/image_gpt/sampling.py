"""The blocks of ImageGPT token by token: a pixel costs the pass of one token, not of all tokens.

The keys and values of earlier tokens never change, since no token sees a later one. They are kept in caches made once,
2 x (n, heads, D, width/heads) for each block: 2 n D width blocks numbers in all.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.image_gpt.network import Block


class CachedBlock:
    """A block that adds its branches to one token after the other. Its norms' scales and shifts are in the weights."""

    def __init__(self, block: Block, n: int, dims: int) -> None:
        width, heads = block.mix.in_features, block.heads
        self.width = (width,)
        size = width // heads  # e
        self.qkv_bias, self.qkv_weight = after_norm(block.attention_norm, block.qkv)
        self.qkv_bias[:width] *= size**-0.5  # softmax(q k / sqrt(e))
        self.qkv_weight[:, :width] *= size**-0.5
        self.up_bias, self.up_weight = after_norm(block.mlp_norm, block.up)
        self.mix_bias, self.mix_weight = block.mix.bias, block.mix.weight.t().contiguous()
        self.down_bias, self.down_weight = block.down.bias, block.down.weight.t().contiguous()

        cache = self.qkv_bias.new_zeros(2, n, heads, dims, size)
        self.slots = cache.unbind(3)  # D of (2, n, heads, e): one token's key and value
        self.keys, self.values = cache.flatten(1, 2)  # (n*heads, D, e)
        self.keys = self.keys.transpose(1, 2)  # (n*heads, e, D)
        self.qkv = self.qkv_bias.new_zeros(n, 3 * width)
        self.query = self.qkv[:, :width].view(n, heads, size)
        self.key_and_value = self.qkv[:, width:].view(n, 2, heads, size).transpose(0, 1)  # (2, n, heads, e)
        self.batch = n * heads

    def advance(self, h: Tensor, d: int) -> None:
        """The token d, h^l `(n, width)`, becomes h^{l+1}, in place."""
        torch.addmm(self.qkv_bias, F.layer_norm(h, self.width), self.qkv_weight, out=self.qkv)
        self.slots[d].copy_(self.key_and_value)
        q = self.query.reshape(self.batch, 1, -1)
        scores = torch.bmm(q, self.keys.narrow(2, 0, d + 1))  # (n*heads, 1, d+1)
        mean = torch.bmm(scores.softmax(2), self.values.narrow(1, 0, d + 1))  # (n*heads, 1, e)
        h.addmm_(mean.view(h.shape), self.mix_weight).add_(self.mix_bias)
        up = torch.addmm(self.up_bias, F.layer_norm(h, self.width), self.up_weight)  # (n, 4*width)
        h.addmm_(F.gelu(up, approximate="tanh"), self.down_weight).add_(self.down_bias)


def after_norm(norm: nn.LayerNorm, layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """b `(out,)` and W^T `(in, out)` with layer(norm(h)) = b + layer_norm(h) W^T, the norm's scale included."""
    return F.linear(norm.bias, layer.weight, layer.bias), (layer.weight * norm.weight).t().contiguous()
