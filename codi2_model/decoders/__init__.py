"""Diffusion decoders: features -> images, audio or videos; vocoder: log-mel spectrograms -> waveforms."""

from __future__ import annotations

from typing import Any

from codi2_model.config import CoDi2Config
from codi2_model.decoders.diffusion import DiffusionDecoder, Reference
from codi2_model.decoders.transformer import TransformerDecoder
from codi2_model.decoders.unet import UNetDecoder, VideoUNetDecoder
from codi2_model.decoders.vocoder import to_waveform
from codi2_model.options import DECODERS, PipelineOptions, TransformerOptions


def build_decoder(config: CoDi2Config, modality: str) -> DiffusionDecoder:
    """Build the decoder of a modality from the config; published ones with random weights."""
    options, shape = config.decoder(modality), config.media_shape(modality)
    kind: Any = VideoUNetDecoder if len(shape) == 4 else UNetDecoder
    if isinstance(options, PipelineOptions):
        kind = DECODERS.part(options.kind)
    elif isinstance(options, TransformerOptions):
        kind = TransformerDecoder
    width, scale = config.decoder_dim, config.scale if config.decoder_input == "features" else config.decoder_dim**0.5
    return kind(options, shape, config.feature_tokens, width, scale)


__all__ = [
    "DiffusionDecoder",
    "Reference",
    "TransformerDecoder",
    "UNetDecoder",
    "VideoUNetDecoder",
    "build_decoder",
    "to_waveform",
]  # fmt: skip
