"""NICE: `model.py` is the flow, its couplings and its prior."""
