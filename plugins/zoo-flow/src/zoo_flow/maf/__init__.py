"""MAF: `model.py` is the flow and its blocks; `masked.py` of the family is their network and the way back."""
