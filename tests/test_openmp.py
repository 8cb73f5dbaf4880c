"""The `zoo` command has threads spin briefly, before torch is there, and never over what the user has set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoo_core.commands.openmp import SPINS, spin_briefly

SHOWN = """
import os, sys
from zoo_core.commands import group
spin = group.spin_briefly
def seen():
    print("torch" in sys.modules, end=" ")
    spin()
    print(os.environ.get("GOMP_SPINCOUNT"))
group.spin_briefly = seen
from zoo_core.cli import main
main(["list", "no-such-model*"], standalone_mode=False)
"""


@pytest.mark.parametrize(
    ("theirs", "then"), [({}, SPINS), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)]
)
def test_set_before_torch_and_never_over_the_user_s_own(theirs: dict[str, str], then: str | None) -> None:
    clean = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    shown = subprocess.run([sys.executable, "-c", SHOWN], capture_output=True, text=True, env=clean | theirs).stdout
    assert shown.split() == ["False", str(then)]
    environment = dict(theirs)
    spin_briefly(environment)
    assert environment.get("GOMP_SPINCOUNT") == then


def test_make_and_the_command_say_the_same() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    assert f"export GOMP_SPINCOUNT ?= {SPINS}\n" in makefile
