"""Where EM starts, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core import Config, ZooError


@dataclass(frozen=True, kw_only=True)
class StartConfig(Config):
    """What the configs of mixtures have in common.

    components: K. init: the means from which EM starts: "kmeans++", seeds far from each other and `lloyd` rounds of
    k-means; "points", K different training images at random; "means", those of the field `means`, K rows of D numbers,
    pixels in [0, 1], a row an image in the order of `x.flatten()`.
    n_init: so many starts are trained side by side, each pass for all of them; the model is that of the best objective.
    """

    components: int = 10
    init: Literal["kmeans++", "points", "means"] = "kmeans++"
    means: tuple[tuple[float, ...], ...] = ()
    n_init: int = 1
    lloyd: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("components", self.components >= 1, "at least 1")
        self.expect("lloyd", self.lloyd >= 0, "0 or more rounds")
        self.expect("n_init", self.n_init >= 1, "at least 1 start")
        name, widths = type(self).__name__, {len(row) for row in self.means}
        if self.init != "means":
            if self.means:
                raise ZooError(f'{name}.means: only init = "means" reads them; set it, or leave them out')
            return
        if len(self.means) != self.components or len(widths) != 1:
            given = f"{len(self.means)} of {', '.join(map(str, sorted(widths))) or 'no'} numbers"
            raise ZooError(
                f"{name}.means: expected {self.components} rows of equal length, a component each, got {given}"
            )
        self.expect("n_init", self.n_init == 1, 'one start from given means, as all would be equal (init = "means")')
