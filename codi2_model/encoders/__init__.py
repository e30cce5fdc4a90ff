"""Encoders that turn pictures, sounds, clips and captions into features.

`Encoders` holds one of our own per modality, or a published family; a feature vector has length `config.scale` whatever it
came from.
"""

from codi2_model.encoders.bind import BindEncoder, Encoders, PatchEncoder, TextEncoder, family_class, scale_norm
from codi2_model.encoders.mel import log_mel, mel_filters

__all__ = [
    "BindEncoder", "Encoders", "PatchEncoder", "TextEncoder", "family_class", "log_mel", "mel_filters", "scale_norm",
]  # fmt: skip
