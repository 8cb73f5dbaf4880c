"""RealNVP with variational dequantisation."""
