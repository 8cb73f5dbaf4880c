"""Sample grids while training. They take at most a tenth of its seconds, end at Ctrl-C, and change none of its numbers.

Images are drawn in pieces of 1, 1, 2, 4, 8, 16 and 32: the first tells what an image takes, and a piece that would not
be done in time is left out. A copy of the model draws them, so that a piece may be broken off in the middle.

A model that draws nothing yet is seen by what it makes of training images, each beside its reconstruction: an encoder
(a first stage), and a generative model that says `can_draw = False` as long as there is nothing to draw from (an
autoencoder, before `finish` fits a density to its codes).
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from zoo_bench.randomness import preserved
from zoo_bench.training.interruption import Interruption
from zoo_core import sampling
from zoo_core.commands import sample_files
from zoo_core.images import ImageSpec
from zoo_core.likelihood import evaluating
from zoo_core.model import GenerativeModel, HasReconstruct
from zoo_core.precision import full_float32
from zoo_core.step import Trainable, seed_from

SHARE = 0.1  # of the seconds trained so far, for all previews together
LEAST = 0.1  # seconds: while there are fewer to spend, nothing is drawn on the way
FINAL = 2.0  # seconds that the last grid may take however short the training was
PIECES = (1, 1, 2, 4, 8, 16, 32)  # twice as many images take at most twice as long
WHOLE = sum(PIECES)
PAIRS = (2, 6, 8, 16)  # images with their reconstructions: however many are done, no pair is torn by a grid's edge


def what(model: Trainable) -> Literal["samples", "reconstructions", ""]:
    """What there is to see of a model now; empty for one that neither draws nor reconstructs."""
    if isinstance(model, GenerativeModel) and getattr(model, "can_draw", True):
        return "samples"
    return "reconstructions" if isinstance(model, HasReconstruct) else ""


class Previews:
    """The grids of one run, in `folder`. Its clock starts here: `seconds` are those trained since.

    images: what the model draws. real: some for reconstructions, uint8 `(N, C, H, W)`. copying: seconds that a copy of
    the model takes; infinite once there was no memory for one. show: hears what is being done; say: hears, once, that
    previews are slow.
    """

    def __init__(
        self,
        folder: Path,
        images: ImageSpec,
        *,
        real: Tensor,
        seed: int,
        interruption: Interruption,
        copying: float,
        show: Callable[[str], Any],
        say: Callable[[str], Any],
    ) -> None:
        self.folder, self.images, self.real, self.seed = folder, images, real, seed
        self.interruption, self.show, self.say = interruption, show, say
        self.spent = 0.0
        self.copying = copying
        self.one = 0.0  # seconds that an image takes, as far as is known
        self.enough = 0.0  # seconds without which there is no point in trying again
        self.told = False
        self.what = "samples"  # in the last grid

    def on_the_way(self, seen: int, copy: Callable[[], Trainable], seconds: float) -> Tensor | None:
        """The grid after `seen` images; None where there was no time for any image, or none but with a better clock."""
        allowed = SHARE * seconds - self.spent
        if allowed < LEAST:
            return None
        x = self._draw(f"{seen:09d}", copy, allowed, self.copying + self.enough)
        if len(x) < WHOLE and not self.interruption.stop.is_set():
            why = "there is no memory for a copy of the model" if self.copying == math.inf else self._why()
            text = f"{self._number(x)} at {seen:,} images: {why}"
            self.show(text)
            if allowed > 1 and not self.told:  # a second is much: the sampler is slow, not the training short
                self.say(text)
                self.told = True
        return x if len(x) else None

    def final(self, model: Trainable, seconds: float, how_to_draw: str) -> Tensor | None:
        """The last grid. The training is over, so `model` itself draws; how_to_draw: the command that draws all."""
        x = self._draw("final", lambda: model, max(SHARE * seconds - self.spent, FINAL), self.enough)
        if len(x) < WHOLE and not self.interruption.stop.is_set():
            how = f"; all: {how_to_draw}" if self.what == "samples" else ""
            self.say(f"{self._number(x)} in the last grid: {self._why()}{how}")
        return x if len(x) else None

    def _number(self, x: Tensor) -> str:
        cells = 1 if self.what == "samples" else 2
        return f"{len(x) // cells or 'no'} {self.what} instead of {WHOLE // cells}"

    def _why(self) -> str:
        return f"one takes {self.one or self.copying:.2g} s or more, and all previews a tenth of the training at most"

    def _draw(self, name: str, copy: Callable[[], Trainable], allowed: float, needs: float) -> Tensor:
        """As many images as there is time for, which are then in their file. uint8 `(n, C, H, W)`, n of `WHOLE`.

        Reconstructions stand behind the images that they are of: two of n each.
        """
        began = time.monotonic()
        x = torch.empty(0, *self.images.shape, dtype=torch.uint8)
        if needs < allowed:
            self.show("drawing a preview")
            # Around all that may be broken off, so that what it had switched is as it was.
            with preserved(), torch.enable_grad(), full_float32():
                try:
                    model = copy()
                except torch.OutOfMemoryError:
                    self.copying = math.inf  # only the last grid, which needs no copy, is drawn
                else:
                    self.what = what(model)
                    self.copying = time.monotonic() - began
                    x = torch.cat([x, *self._pieces(model, began + allowed)])
            if len(x):
                sample_files.write(self.folder / f"{name}.png", x, self.images)
        self.spent += time.monotonic() - began
        return x

    def _pieces(self, model: Trainable, end: float) -> list[Tensor]:
        pieces: list[Tensor] = []
        took = 0.0
        sizes = PIECES if self.what == "samples" else PAIRS
        for k, size in enumerate(sizes):
            began = time.monotonic()
            if pieces and took * size / sizes[k - 1] > end - began:
                break
            x = self.interruption.attempt(functools.partial(self._piece, model, k), end - began)
            took = time.monotonic() - began
            if not pieces:
                self.one = took / size
                self.enough = took if x is not None else 2 * took
            if x is None:
                break
            pieces.append(x)
        return pieces

    def _piece(self, model: Trainable, k: int) -> Tensor | None:
        try:
            if self.what == "reconstructions":
                return self._pairs(model, sum(PAIRS[:k]), PAIRS[k])
            assert isinstance(model, GenerativeModel)
            return sampling.draw(model, PIECES[k], seed=seed_from(self.seed, "preview", k))
        except torch.OutOfMemoryError:
            return None  # the training fits, and shall not end for a picture

    def _pairs(self, model: Trainable, start: int, n: int) -> Tensor:
        """Real images and what becomes of each, in turn: uint8 `(2 n, C, H, W)`."""
        assert isinstance(model, HasReconstruct)
        x = self.real[torch.arange(start, start + n) % len(self.real)]  # there may be fewer than are shown
        with evaluating(model):
            y = model.reconstruct(x.to(model.device)).cpu()
        return torch.stack([x, y], 1).flatten(0, 1)
