"""Likelihoods and samples are computed in full float32, whichever of torch's two settings a program lowered before."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOWERED = {
    "older": "torch.set_float32_matmul_precision('medium'); torch.backends.cudnn.allow_tf32 = True",
    "newer": "torch.backends.cuda.matmul.fp32_precision = 'tf32'; torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
    "all": "torch.backends.fp32_precision = 'tf32'",
}
PROGRAM = """
import torch, zoo_core
from zoo_core.likelihood import evaluating, score
{lowered}
b = torch.backends
state = lambda: [o.fp32_precision for o in (b.cuda.matmul, b.mkldnn.matmul, b.cudnn.conv, b.cudnn.rnn)]
model = zoo_core.load("made.digits")
before = state()
assert set(before) != {{"ieee"}}, before
with evaluating(model):
    assert set(state()) == {{"ieee"}}, state()
score(model, torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
assert state() == before, (before, state())
"""


@pytest.mark.parametrize("setting", LOWERED)
def test_evaluation_is_in_full_float32_and_leaves_the_setting_as_it_was(setting: str) -> None:
    """In a process of its own: a program cannot go back from the newer setting to the older one."""
    command = [sys.executable, "-c", PROGRAM.format(lowered=LOWERED[setting])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
