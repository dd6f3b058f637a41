"""One site's generator: an autoencoder, and a conditional flow over its latents."""
