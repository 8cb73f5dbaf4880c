"""How long torch's CPU threads spin while they wait for each other: set before torch is imported, or not at all.

At the end of each parallel region the threads of GNU's OpenMP wait for the slowest one, and spin as they wait. Where
other programs want the same cores, the slowest is one that is not scheduled, and the others burn its time: a training
beside other work then runs many times slower than its share. A shorter spin than OpenMP's own helps there and costs up
to some fifteen percent of a small model's speed on an idle machine (`benchmarks/peers/busy.py` measures both).
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

SPINS = "30000"


def spin_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set `GOMP_SPINCOUNT`, unless the user has said how threads shall wait."""
    if not environment.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        environment["GOMP_SPINCOUNT"] = SPINS
