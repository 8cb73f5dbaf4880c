"""R3GAN: pairs of real and generated images, two gradient penalties, plain residual networks."""
