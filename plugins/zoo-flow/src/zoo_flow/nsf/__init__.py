"""NSF: `splines.py` has the monotone functions, `layers.py` what gives them their knots, `model.py` the flow."""
