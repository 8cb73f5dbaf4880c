"""Settings for every test, made before torch is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # right_models and wrong_models, by name: a spec's target is a string

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests' networks are tiny: a second thread only waits
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test talks to the Hub; those of the Hub bring their own server
