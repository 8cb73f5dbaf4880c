"""RealNVP: affine couplings by checkerboards and channels, at several scales."""
