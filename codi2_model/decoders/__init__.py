"""Diffusion decoders: features -> images, audio or videos; vocoder: log-mel spectrograms -> waveforms."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from codi2_model.config import CoDi2Config
from codi2_model.decoders.diffusion import DiffusionDecoder, Reference
from codi2_model.decoders.transformer import TransformerDecoder
from codi2_model.decoders.unet import UNetDecoder, VideoUNetDecoder
from codi2_model.decoders.vocoder import to_waveform
from codi2_model.options import PipelineOptions, TransformerOptions

_PUBLISHED = {
    "unclip": "codi2_model.decoders.unclip:UnclipDecoder",
    "audioldm2": "codi2_model.decoders.audioldm2:AudioLdm2Decoder",
    "zeroscope": "codi2_model.decoders.zeroscope:ZeroscopeDecoder",
    "ip_adapter": "codi2_model.decoders.ip_adapter:IpAdapterDecoder",
}


def pipeline_class(kind: str) -> Any:
    """The decoder class of a published pipeline, imported on use because diffusers' pipelines take seconds."""
    module, name = _PUBLISHED[kind].split(":")
    return getattr(import_module(module), name)


def build_decoder(config: CoDi2Config, modality: str) -> DiffusionDecoder:
    """Build the decoder of a modality from the config; published ones with random weights."""
    options, shape = config.decoder(modality), config.media_shape(modality)
    kind: Any = VideoUNetDecoder if len(shape) == 4 else UNetDecoder
    if isinstance(options, PipelineOptions):
        kind = pipeline_class(options.kind)
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
    "pipeline_class",
    "to_waveform",
]  # fmt: skip
