"""Glow: steps of activation normalisation, invertible 1x1 convolution and affine coupling, at several scales.

Kingma, Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018, https://arxiv.org/abs/1807.03039,
section 3 and figure 2:

    a step: h = W (s h + b) (`mixing.py`);  (a, b) = halves of h;  b = b exp(s(a)) + t(a)  (`image_coupling.py`)
    a scale: a squeeze, K steps; half of the channels is finished, the rest goes on; L scales, the last one whole

Departures. The paper's scale of a coupling is a sigmoid; here it is the exponential of scale tanh(.) + log_scale, as in
`realnvp`, with which a new step is the identity but for W. The networks' hidden layers are not normalised. The learned
prior of a finished half, N(mean(a), deviation(a)^2) given the half a that goes on, is written as one more affine
coupling with N(0, I) behind it: the same density, and z is standard normal throughout. That of the last scale is
N(0, I).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo_core.errors import Diverged, ZooError
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_flow.glow.config import GlowConfig
from zoo_flow.glow.mixing import Mixing
from zoo_flow.image_coupling import Coupling, Moments
from zoo_flow.image_networks import OneLayer, ThreeLayers
from zoo_flow.multiscale import MultiScaleFlow, refuse_scales
from zoo_flow.squeeze import most_squeezes, squeeze, unsqueeze


class Glow(MultiScaleFlow):
    """`config.scales` scales of `config.depth` steps."""

    config: GlowConfig

    def __init__(self, images: ImageSpec, config: GlowConfig) -> None:
        super().__init__(images, config)
        most = most_squeezes(images)
        if most == 0:
            raise ZooError(
                f"glow: images {images.channels}x{images.height}x{images.width} cannot be squeezed: height and width "
                "must be even, because channels are mixed and coupled, and those are made of squares of 2x2 pixels; "
                "pad the images, or use realnvp with scales=0"
            )
        refuse_scales("glow", images, config.scales, most, "each time both sides are halved")
        channels, height, width = images.shape
        self.scales = nn.ModuleList()
        self._shapes = []
        for i in range(config.scales):
            last = i == config.scales - 1
            channels, height, width = 4 * channels, height // 2, width // 2
            self.scales.append(Scale(channels, config, split=not last))
            channels = channels if last else channels // 2
            self._shapes.append((channels, height, width))
        self._checked: list[tuple[int, int]] = []
        self.register_load_state_dict_post_hook(_check_loaded)

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        return self._shapes

    def parts(self, y: Tensor, moments: Moments | None = None) -> tuple[list[Tensor], list[Tensor]]:
        parts, log_dets = [], []
        for scale in self.scales:
            y, part, found = scale(y, moments)
            parts += [] if part is None else [part]
            log_dets += found
        return [*parts, y], log_dets

    def join(self, parts: list[Tensor]) -> Tensor:
        self.check_invertible()
        y = parts[-1]
        for scale, part in zip(reversed(self.scales), [None, *reversed(parts[:-1])]):
            y = scale.inverse(y, part)
        return y

    def finish(self, step: Step) -> None:
        self.check_invertible()

    def check_invertible(self) -> None:
        """`Diverged`, naming the layer, where a 1x1 convolution cannot be inverted.

        Looked for once for each state of the weights, so that sampling on a GPU does not wait.
        """
        layers = {name: module for name, module in self.named_modules() if isinstance(module, Mixing)}
        state = [(id(parameter), parameter._version) for layer in layers.values() for parameter in layer.parameters()]
        if state == self._checked or any(layer.lu.is_meta for layer in layers.values()):
            return
        for name, layer in layers.items():
            if why := layer.flaw():
                raise Diverged(
                    f"glow: the 1x1 convolution {name} cannot be inverted: {why}; "
                    "load other weights, or train again with a lower learning rate"
                )
        self._checked = state


def _check_loaded(model: Glow, keys: object) -> None:
    model.check_invertible()


class Scale(nn.Module):
    """`(N, C / 4, 2 H, 2 W)` to what goes on and what is finished, `(N, C / 2, H, W)` each; without a split all
    `(N, C, H, W)` goes on, to be finished as it is.
    """

    def __init__(self, channels: int, config: GlowConfig, *, split: bool) -> None:
        super().__init__()
        half = channels // 2
        self.steps = nn.ModuleList(GlowStep(channels, config.width) for _ in range(config.depth))
        self.split = split
        learned = split and config.prior == "learned"
        self.prior = Coupling(OneLayer(half, 2 * half), half) if learned else None

    def forward(self, x: Tensor, moments: Moments | None = None) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        h, log_dets = squeeze(x), []
        for step in self.steps:
            h, found = step(h, moments)
            log_dets += found
        if not self.split:
            return h, None, log_dets
        on, part = h.chunk(2, 1)
        if self.prior is not None:
            part, log_det = self.prior(on, part, moments)
            log_dets.append(log_det)
        return on, part, log_dets

    def inverse(self, h: Tensor, part: Tensor | None) -> Tensor:
        if part is not None:
            part = part if self.prior is None else self.prior.inverse(h, part)
            h = torch.cat([h, part], 1)
        for step in reversed(self.steps):
            h = step.inverse(h)
        return unsqueeze(h)


class GlowStep(nn.Module):
    """A step of flow: figure 2a of the paper."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        half = channels // 2
        self.mixing = Mixing(channels)
        self.coupling = Coupling(ThreeLayers(half, 2 * half, width), half)

    def forward(self, h: Tensor, moments: Moments | None = None) -> tuple[Tensor, list[Tensor]]:
        if moments is not None:
            self.mixing.normalise(*moments(h, None))
        h, of_mixing = self.mixing(h)
        a, b = h.chunk(2, 1)
        b, of_coupling = self.coupling(a, b)
        return torch.cat([a, b], 1), [of_mixing, of_coupling]

    def inverse(self, h: Tensor) -> Tensor:
        a, b = h.chunk(2, 1)
        return self.mixing.inverse(torch.cat([a, self.coupling.inverse(a, b)], 1))
