"""PixelRNN: two-dimensional LSTMs over an image, from row to row or along both diagonals."""
