"""MADE: an autoencoder whose masked weights leave each output nothing but the inputs before it.

Germain, Gregor, Murray, Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", 2015,
https://arxiv.org/abs/1502.03509.

    -log p(x) = sum_d -log p(x_d | x_<d)                                                                     (eq. 5)

The D (sub)pixels stand in raster order, the channels of a pixel innermost (R, G, B). One mask, in this natural order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from zoo_autoregressive.ancestral import generate
from zoo_autoregressive.configs import MADEConfig
from zoo_core import Batch, GenerativeModel, ImageSpec, Step, ZooError
from zoo_core.images import to_unit
from zoo_core.pixels import Bernoulli, Categorical

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {  # g, in place: each is differentiated by its result
    "relu": torch.relu_,
    "elu": F.elu_,
    "tanh": torch.tanh_,
    "sigmoid": torch.sigmoid_,
}


class MADE(GenerativeModel):
    """Hidden layers h^l = g(b^l + (W^l * M^l) h^{l-1}) over h^0 = x, and outputs c + (V * M^V) h^L + (A * M^A) x.

    The outputs are the logits of a Bernoulli (2 levels) or of a categorical distribution (more). Without the direct
    connections A, a hidden layer that lacks some degree leaves blind spots: outputs that miss an earlier input.
    """

    config: MADEConfig

    def __init__(self, images: ImageSpec, config: MADEConfig) -> None:
        super().__init__(images, config)
        dims, levels = images.dims, images.levels
        self.onehot = config.inputs == "onehot"
        self.inputs = levels if self.onehot else 1  # E, inputs of a pixel
        self.outputs = 1 if levels == 2 else levels  # P, logits of a pixel
        self.activation = ACTIVATIONS[config.activation]
        # A lone pixel has no parents: no degree is left for a hidden unit, and c is all there is to learn.
        self.degrees = hidden_degrees(dims, config) if dims > 1 else []

        pixels = torch.arange(1, dims + 1)
        x, outputs = pixels.repeat_interleave(self.inputs)[None], pixels.repeat_interleave(self.outputs)[:, None]
        layers = zip([x, *(m[None] for m in self.degrees)], (m[:, None] for m in self.degrees))
        self.hidden = nn.ModuleList(MaskedLinear(above >= below) for below, above in layers)  # W, b; eqs. 8 and 12
        self.bias = nn.Parameter(torch.zeros(dims * self.outputs))  # c
        self.output: MaskedLinear | None = None
        self.direct: MaskedLinear | None = None
        if self.degrees:
            self.output = MaskedLinear(outputs > self.degrees[-1], bias=False)  # V; eqs. 9 and 13
        if config.direct and dims > 1:
            self.direct = MaskedLinear(outputs > x, bias=False)  # A; strictly lower triangular
        for layer in self.readouts():  # at 0, so that an input which the data never use says nothing
            nn.init.zeros_(layer.weight)

    def log_prob(self, x: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        """Exact log P of integer images in one pass (eq. 5). nats, `(N,)`."""
        return self.log_conditionals(x, labels=labels, text=text).sum(1)

    def log_conditionals(self, x: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        """log p(x_d | x_<d) in raster order, channels innermost. nats, `(N, D)`."""
        return self._log_conditionals(to_sequence(self.check(x, labels, text)))

    def loss(self, batch: Batch) -> Tensor:
        """Eq. 5, averaged over the batch. nats."""
        return -self._log_conditionals(to_sequence(batch.x)).sum(1).mean()

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {"loss": step.minimize(self.loss, batch)}

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        weights = [p for p in self.parameters() if p.dim() > 1]
        biases = [p for p in self.parameters() if p.dim() == 1]
        decayed = {"params": weights, "weight_decay": self.config.weight_decay}
        return {"model": AdamW([decayed, {"params": biases, "weight_decay": 0.0}], lr=lr, fused=True)}

    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """`n` images, uint8 `(n, C, H, W)`; logits are divided by `temperature`."""
        self.check_request(n, labels, text)
        s = generate(self, self._uniform(n, generator), temperature)
        return to_images(s, self.images)

    def complete(
        self, x: Tensor, mask: Tensor, *, generator: torch.Generator | None = None, temperature: float = 1.0
    ) -> Tensor:
        """`x` with every pixel where `mask` is False drawn anew, given the pixels before it.

        mask: bool, of x's shape, True = known. Where all known pixels come before the others in the order, this is
        a draw from P(unknown | known). A pixel that comes before a known one is drawn without a look at that one.
        """
        self.check(x)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != x.shape:
            given = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ZooError(
                f"complete: expected a mask torch.bool {tuple(x.shape)}, of x's shape and True where a pixel is known, "
                f"got {given}; mask.expand_as(x) spreads one mask over a batch"
            )
        s = generate(self, self._uniform(len(x), generator), temperature, to_sequence(x), to_sequence(mask))
        return to_images(s, self.images)

    def logits(self, s: Tensor) -> Tensor:
        """The parameters of all conditionals. s: uint8 `(N, D)` in sampling order. Returns `(N, D, P)`."""
        x = self.to_inputs(s).flatten(1)  # (N, D, E) -> (N, D*E)
        h = x
        for layer in self.hidden:
            h = F.dropout(self.activation(layer(h)), self.config.dropout, self.training)
        logits = self.bias.expand(len(s), -1)
        if self.output is not None:
            logits = logits + self.output(h)
        if self.direct is not None:
            logits = logits + self.direct(x)
        return logits.unflatten(1, (self.images.dims, self.outputs))

    def readouts(self) -> list[MaskedLinear]:
        """V and A, as far as there are such: what the outputs see h^L and x through."""
        return [layer for layer in (self.output, self.direct) if layer is not None]

    def to_inputs(self, s: Tensor) -> Tensor:
        """Pixels `(...)` as inputs `(..., E)`: one-hot, or a number in [0, 1]."""
        dtype = self.bias.dtype
        if self.onehot:
            return F.one_hot(s.long(), self.images.levels).to(dtype)
        return to_unit(s, self.images).to(dtype).unsqueeze(-1)

    def _log_conditionals(self, s: Tensor) -> Tensor:
        logits = self.logits(s)
        return (Bernoulli(logits.squeeze(-1)) if self.images.levels == 2 else Categorical(logits)).log_prob(s)

    def _uniform(self, n: int, generator: torch.Generator | None) -> Tensor:
        like = self.bias
        return torch.rand(n, self.images.dims, generator=generator, device=like.device, dtype=like.dtype)


class MaskedLinear(nn.Module):
    """x -> b + (W * M) x.

    mask: M, bool `(out, in)`, True where a weight is used. It follows from the config and is not saved.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, bias: bool = True) -> None:
        super().__init__()
        bound = mask.shape[1] ** -0.5
        self.weight = nn.Parameter(torch.empty(mask.shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(len(mask))) if bias else None
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    def masked(self) -> Tensor:
        """W * M."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.masked(), self.bias)


def hidden_degrees(dims: int, config: MADEConfig) -> list[Tensor]:
    """m^l(k), the number of the last input that unit k of layer l may see: 1 .. D-1, int64 `(H^l,)`, for each layer.

    Evenly spread, or drawn from min_k m^{l-1}(k) .. D-1, so that no unit is left without inputs (section 4.2). Units
    of a layer are interchangeable, so they are sorted by degree: what the sampler computes together lies together.
    """
    generator = torch.Generator().manual_seed(config.seed)
    layers: list[Tensor] = []
    for width in config.hidden:
        if config.degrees == "even":
            degrees = 1 + torch.arange(width) * (dims - 1) // width
        else:
            lowest = int(layers[-1][0]) if layers else 1
            degrees = torch.randint(lowest, dims, (width,), generator=generator).sort().values
        layers.append(degrees)
    return layers


def to_sequence(x: Tensor) -> Tensor:
    """Images `(N, C, H, W)` in sampling order, `(N, D)`: raster over pixels, channels innermost."""
    return x.permute(0, 2, 3, 1).flatten(1)


def to_images(s: Tensor, images: ImageSpec) -> Tensor:
    """The inverse of `to_sequence`."""
    return s.view(-1, images.height, images.width, images.channels).permute(0, 3, 1, 2).contiguous()
