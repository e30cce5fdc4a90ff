"""The serving engine: continuous batching of tokens and of diffusion steps, sessions, model swaps."""
