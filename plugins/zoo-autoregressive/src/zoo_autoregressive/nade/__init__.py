"""NADE: hidden layers that share their weights, one for each pixel."""
