"""Published latent diffusion pipelines in the folder format of diffusers.

Each is one file with a `DECODER`, a subclass of `LatentDecoder`; adding a file registers it as a `kind` of decoder.
"""
