"""FFJORD: a flow in continuous time."""
