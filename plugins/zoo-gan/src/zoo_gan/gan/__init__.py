"""The first adversarial network: fully connected, by the minimax or the non-saturating loss."""
