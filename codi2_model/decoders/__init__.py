"""Diffusion decoders: features -> pictures, sounds or clips, and log-mel sounds -> waveforms."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from codi2_model.config import CoDi2Config
from codi2_model.decoders.diffusion import DiffusionDecoder, Reference
from codi2_model.decoders.transformer import TransformerDecoder
from codi2_model.decoders.unet import ClipUNetDecoder, UNetDecoder
from codi2_model.decoders.vocoder import to_waveform
from codi2_model.options import PipelineOptions, TransformerOptions

_PUBLISHED = {
    "unclip": "codi2_model.decoders.unclip:UnclipDecoder",
    "audioldm2": "codi2_model.decoders.audioldm2:AudioLdm2Decoder",
    "zeroscope": "codi2_model.decoders.zeroscope:ZeroscopeDecoder",
    "ip_adapter": "codi2_model.decoders.ip_adapter:IpAdapterDecoder",
}


def pipeline_class(kind: str) -> Any:
    """The decoder of a published pipeline; imported when it is asked for, as diffusers' pipelines take seconds."""
    home, name = _PUBLISHED[kind].split(":")
    return getattr(import_module(home), name)


def build_decoder(config: CoDi2Config, modality: str) -> DiffusionDecoder:
    """The decoder of a modality, as the config says; published ones with weights at random."""
    options, shape = config.decoder(modality), config.media_shape(modality)
    kind: Any = ClipUNetDecoder if len(shape) == 4 else UNetDecoder
    if isinstance(options, PipelineOptions):
        kind = pipeline_class(options.kind)
    elif isinstance(options, TransformerOptions):
        kind = TransformerDecoder
    width, scale = config.decoder_dim, config.scale if config.decoder_input == "features" else config.decoder_dim**0.5
    return kind(options, shape, config.feature_tokens, width, scale)


__all__ = [
    "ClipUNetDecoder", "DiffusionDecoder", "Reference", "TransformerDecoder", "UNetDecoder", "build_decoder", "pipeline_class", "to_waveform",
]  # fmt: skip
