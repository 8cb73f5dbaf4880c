"""The transformer block of ImageGPT.

Chen, Radford, Child, Wu, Jun, Luan, Sutskever, "Generative Pretraining from Pixels", 2020,
https://proceedings.mlr.press/v119/chen20s.html, section 2.3; its equations stand in `model.py`.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.image_gpt.config import ImageGPTConfig


class Block(nn.Module):
    """The transformer block of GPT-2: the norms before the branches, so that the residual stream h is never normed."""

    def __init__(self, config: ImageGPTConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(config.dropout)
        for layer in (self.qkv, self.mix, self.up, self.down):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
        for layer in (self.mix, self.down):  # 2L branches add up to a stream of variance about 2, as in GPT-2
            layer.weight.data /= math.sqrt(2 * config.blocks)

    def forward(self, h: Tensor) -> Tensor:
        n = self.attention_norm(h)
        a = h + self.dropout(self.mix(self.attention(n)))
        return a + self.dropout(self.down(F.gelu(self.up(self.mlp_norm(a)), approximate="tanh")))

    def attention(self, n: Tensor) -> Tensor:
        """Causal self-attention before the heads are mixed. n: `(N, T, width)`. Never holds a `(T, T)` matrix whole."""
        qkv = self.qkv(n).unflatten(-1, (3, self.heads, -1))  # (N, T, 3, heads, e)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (N, heads, T, e)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
