"""Encoders: images, audio, videos and captions -> features.

`Encoders` has one encoder per modality: a small one of this project, or a published family. All feature vectors have the
length `config.scale`.
"""

from codi2_model.encoders.bind import BindEncoder, Encoders, PatchEncoder, TextEncoder, scale_norm
from codi2_model.encoders.mel import log_mel, mel_filters

__all__ = [
    "BindEncoder", "Encoders", "PatchEncoder", "TextEncoder", "log_mel", "mel_filters", "scale_norm",
]  # fmt: skip
