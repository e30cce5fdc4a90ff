"""Encoders that bind pictures, sounds and captions to one feature space.

`BindEncoders` holds one `BindEncoder` per modality; a feature vector has length `config.scale` whatever it came from.
"""

from codi2_model.encoders.bind import BindEncoder, BindEncoders, PatchEncoder, TextEncoder, to_sphere
from codi2_model.encoders.mel import log_mel, mel_filters

__all__ = ["BindEncoder", "BindEncoders", "PatchEncoder", "TextEncoder", "log_mel", "mel_filters", "to_sphere"]
