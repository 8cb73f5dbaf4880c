"""ImageGPT: a decoder-only transformer over the sequence of pixels."""
