"""Diffusion decoders: features -> pictures or log-mel sounds, and log-mel sounds -> waveforms."""

from codi2_model.decoders.diffusion import DiffusionDecoder, Reference, build_decoder
from codi2_model.decoders.vocoder import to_waveform

__all__ = ["DiffusionDecoder", "Reference", "build_decoder", "to_waveform"]
