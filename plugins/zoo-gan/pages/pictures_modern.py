"""Draws the pictures of sngan.md and r3gan.md from weights.

    python plugins/zoo-gan/pages/pictures_modern.py [NAME[=FOLDER] ...]     # sngan.digits, …; default: all that ship

NAME.png: samples; test images above the nearest that the generator can make; lines between the codes of two of them.
NAME.truncation.png: the same noise with less and less of the prior. Of a conditional model, NAME.png has a class in
each column and a code in each row, NAME.truncation.png a class in each column and less of the prior in each row above.
Of images of two pixels, NAME.png is the truth, 20,000 samples, and what the discriminator says. FOLDER: weights that
are not installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pictures_gan as pictures
import torch
from PIL import Image
from torch import Tensor
from zoo_gan.adversarial import Adversarial

import zoo_core
from zoo_core.commands.sample_files import grid

MODELS = ("sngan", "r3gan")
ROWS, SHARES = 8, (0.4, 0.6, 0.8, 1.0)


def main() -> None:
    pictures.FOLDER.mkdir(exist_ok=True)
    ours = [name for name in zoo_core.list_models(pretrained=True) if name.partition(".")[0] in MODELS]
    for word in sys.argv[1:] or ours:
        name, _, place = word.partition("=")
        model = zoo_core.load(place or name)
        for what, image in (told if model.conditioning == "class" else pictures.of)(name, model):
            image.quantize(128).save(pictures.FOLDER / f"{what}.png", optimize=True)
            print(f"{what}.png", flush=True)


@torch.no_grad()
def told(name: str, model: Adversarial) -> Iterator[tuple[str, Image.Image]]:
    """One code in each row, one class in each column; then one code with less and less of the prior, and another."""
    classes = model.images.classes
    z = model.prior.draw(ROWS, model.config.latent, generator=torch.Generator().manual_seed(0))
    yield name, grid(under_every_class(model, z), model.images, columns=classes, cell=pictures.CELL)
    rows = torch.cat([model.prior.truncated(code, share) for code in z[:2].split(1) for share in SHARES])
    yield f"{name}.truncation", grid(under_every_class(model, rows), model.images, columns=classes, cell=pictures.CELL)


def under_every_class(model: Adversarial, z: Tensor) -> Tensor:
    """The images of each code under each class in turn, `(N * classes, C, H, W)`."""
    classes = model.images.classes
    return model.decode(z.repeat_interleave(classes, 0), labels=torch.arange(classes).repeat(len(z)))


if __name__ == "__main__":
    main()
