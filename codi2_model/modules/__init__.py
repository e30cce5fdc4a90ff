"""Modules of the model besides encoders and decoders: heads, connectors, feature slots, losses, tokenizers."""
