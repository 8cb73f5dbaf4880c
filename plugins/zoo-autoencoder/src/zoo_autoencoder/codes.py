"""What every model with codes can do with them: reconstruct, interpolate, add attributes, move along one latent.

A code is a vector `(latent,)` per image; `encode` and `decode` are the model's own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_autoencoder import checks
from zoo_core.errors import ZooError
from zoo_core.images import Labels
from zoo_core.model import GenerativeModel


class ModelWithCodes(GenerativeModel):
    """Codes `(N, latent)`. A model whose prior is N(0, I) can be traversed from any code by standard deviations."""

    @property
    @abstractmethod
    def latent(self) -> int:
        """The dimension of a code."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Codes of integer images, `(N, latent)`. A conditional model's takes `labels` too, and needs them."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """The images most expected for codes `(N, latent)`, uint8 `(N, C, H, W)`; `labels` as in `encode`."""

    def reconstruct(self, x: Tensor, *, labels: Labels = None) -> Tensor:
        """`decode(encode(x))`, uint8 `(N, C, H, W)`."""
        return self.decode(self.encode(x, **told(labels)), **told(labels))

    def active_units(self, x: Tensor, *, labels: Labels = None, threshold: float = 0.01) -> Tensor:
        """Which latents say something about the images: Var_x(E_q[z_j]) > threshold, bool `(latent,)`.

        Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2015, https://arxiv.org/abs/1509.00519,
        section 5.2. x: enough images to estimate a variance of.
        """
        if len(x) < 2:
            raise ZooError(f"{self._name}.active_units: expected at least 2 images, for a variance, got {len(x)}")
        return self.encode(x, **told(labels)).var(0) > threshold

    def interpolate(self, a: Tensor, b: Tensor, n: int, *, labels: Labels = None) -> Tensor:
        """`n` images along the straight line between the codes of `a` and `b`, both ends included.

        a, b: one image each, uint8 `(C, H, W)` or `(1, C, H, W)`. labels: the class of all, `(1,)`. Returns uint8
        `(n, C, H, W)`.
        """
        where = f"{self._name}.interpolate"
        checks.count(where, "n", n, 2, ", both ends included")
        images = [checks.one(where, image, self.images) for image in (a, b)]
        ends = self.encode(torch.cat(images), **told(labels, 2))
        t = torch.linspace(0, 1, n, device=ends.device, dtype=ends.dtype).unsqueeze(1)
        return self.decode(torch.lerp(ends[:1], ends[1:], t), **told(labels, n))

    def attribute(self, present: Tensor, absent: Tensor) -> Tensor:
        """The direction of an attribute: the mean code of images that have it minus that of images that lack it.

        present, absent: uint8 `(N, C, H, W)` and `(M, C, H, W)`. Returns `(latent,)`; `decode(encode(x) + direction)`
        adds it to x. Of a conditional model, codes are what the class does not say: `encode` each with its labels.
        """
        return self.encode(present).mean(0) - self.encode(absent).mean(0)

    def traverse(self, x: Tensor, latents: Sequence[int], values: Sequence[float], *, labels: Labels = None) -> Tensor:
        """Images with one latent of a code set to each of `values`, and the others as they are.

        x: one image, uint8 `(C, H, W)` or `(1, C, H, W)`. latents: which ones, from 0. labels: its class, `(1,)`.
        Returns uint8 `(len(latents) len(values), C, H, W)`, a row of a grid for each latent.
        """
        name = f"{self._name}.traverse"
        if not len(latents) or not len(values):
            raise ZooError(f"{name}: expected latents and values, at least one, got {len(latents)} and {len(values)}")
        for latent in latents:
            if latent not in range(self.latent):
                raise ZooError(f"{name}: expected latents, whole numbers of 0 to {self.latent - 1}, got {latent}")
        code = self.encode(checks.one(name, x, self.images), **told(labels))
        codes = code.repeat(len(latents) * len(values), 1)
        where = torch.tensor(list(latents), device=code.device, dtype=torch.int64).repeat_interleave(len(values))
        what = torch.tensor(list(values), device=code.device, dtype=code.dtype).repeat(len(latents))
        codes[torch.arange(len(codes), device=code.device), where] = what
        return self.decode(codes, **told(labels, len(codes)))

    def check_codes(self, z: Tensor) -> Tensor:
        """`z` in the model's precision, if it is codes `(N, latent)`, at least one; `ZooError` otherwise."""
        given = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
        if not isinstance(z, Tensor) or z.dim() != 2 or z.shape[1] != self.latent or not z.is_floating_point():
            kind = f" of {z.dtype}" if isinstance(z, Tensor) and not z.is_floating_point() else ""
            raise ZooError(f"{self._name}.decode: expected codes (N, {self.latent}), real numbers, got {given}{kind}")
        if not len(z):
            raise ZooError(f"{self._name}.decode: expected at least one code, got none")
        return z.to(self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """That of the parameters: an encoder's input has to have it."""
        return next(self.parameters()).dtype

    @property
    def _name(self) -> str:
        return type(self).__name__


def told(labels: Labels, n: int | None = None) -> dict[str, Tensor]:
    """Labels as a keyword argument, as far as there are any; one label for `n` images."""
    if labels is None:
        return {}
    if n is None:
        return {"labels": labels}
    if not isinstance(labels, Tensor) or labels.numel() != 1:
        given = tuple(labels.shape) if isinstance(labels, Tensor) else repr(labels)
        raise ZooError(f"labels: expected one class for all images, int64 (1,), got {given}")
    return {"labels": labels.reshape(-1).expand(n)}
