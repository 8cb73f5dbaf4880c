"""LSGAN: the networks of a DCGAN, least squares instead of logits."""
