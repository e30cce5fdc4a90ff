"""AudioLDM 2 decoder: features replace the outputs of its language model and T5 encoder.

Audio: waveforms (N, 1, samples) in [-1, 1] at 16 kHz. The autoencoder uses AudioLDM's log-mel spectrograms: Hann windows of
1024 samples every 160 samples, 64 mels with Slaney scale and norm up to 8 kHz, natural logarithm with a minimum of 1e-5.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import torch
from diffusers import AudioLDM2UNet2DConditionModel
from torch.nn import functional as F
from transformers import SpeechT5HifiGan
from transformers.audio_utils import mel_filter_bank

from codi2_model.decoders.diffusion import Condition
from codi2_model.decoders.latent import Bridge, LatentDecoder, build

N_FFT, HOP, MELS, RATE = 1024, 160, 64, 16_000
GENERATED_TOKENS = 8  # length of the sequence from AudioLDM 2's language model


class AudioLdm2Decoder(LatentDecoder):
    """Audio decoder of AudioLDM 2, with its vocoder."""

    unet_class: ClassVar[Any] = AudioLDM2UNet2DConditionModel

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.vocoder: Any = build(SpeechT5HifiGan, self.options.components["vocoder"])

    def build_condition(self) -> None:
        widths = self.unet.config.cross_attention_dim
        while isinstance(widths[0], (list, tuple)):
            widths = widths[0]
        generated, prompt = [width for width in widths if width is not None]
        self.generated = Bridge(self.slots * self.feature_dim, GENERATED_TOKENS, generated)
        self.prompt = Bridge(self.slots * self.feature_dim, 1, prompt)

    @classmethod
    def component_classes(cls) -> dict[str, Any]:
        return {**super().component_classes(), "vocoder": SpeechT5HifiGan}

    def published(self) -> list[str]:
        return [*super().published(), "vocoder."]

    def trained(self) -> list[torch.nn.Module]:
        return [module for module in super().trained() if module is not self.vocoder]

    def condition(self, features: torch.Tensor, dropped: torch.Tensor) -> Condition:
        unit = features * (self.feature_dim**0.5 / self.scale)
        return {"generated": self.generated(unit, dropped), "prompt": self.prompt(unit, dropped)}

    def denoise(
        self, noisy: torch.Tensor, source: torch.Tensor | None, times: torch.Tensor, condition: Condition
    ) -> torch.Tensor:
        return self.unet(
            self._with_source(noisy, source),
            times,
            encoder_hidden_states=condition["generated"],
            encoder_hidden_states_1=condition["prompt"],
        ).sample

    def frames(self) -> int:
        """Mel frames, rounded up to a multiple of the downsampling of autoencoder and UNet."""
        fold = self.vae_factor() * 2 ** (len(self.unet.config.block_out_channels) - 1)
        return -(-(self.shape[-1] // HOP) // fold) * fold

    def latent_shape(self) -> tuple[int, ...]:
        factor = self.vae_factor()
        return (self.latent_channels(), self.frames() // factor, MELS // factor)

    def encode(self, media: torch.Tensor) -> torch.Tensor:
        mel = log_mel(media[:, 0])
        short = self.frames() - mel.shape[1]
        mel = F.pad(mel, (0, 0, 0, short), value=float(torch.tensor(1e-5).log())) if short > 0 else mel
        return super().encode(mel[:, None, : self.frames()])

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        mel = super().decode(latents)[:, 0]
        waves = self.vocoder(mel)
        waves = waves[None] if waves.ndim == 1 else waves
        samples = self.shape[-1]
        return F.pad(waves, (0, max(0, samples - waves.shape[1])))[:, None, :samples]


@lru_cache(maxsize=1)
def _filters() -> torch.Tensor:
    bank = mel_filter_bank(N_FFT // 2 + 1, MELS, 0.0, 8000.0, RATE, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(bank.T.copy()).float()


@torch.no_grad()
def log_mel(waves: torch.Tensor) -> torch.Tensor:
    """Waveforms (N, samples) -> log-mel (N, frames, 64), one frame per 160 samples."""
    padded = F.pad(waves[:, None].float(), ((N_FFT - HOP) // 2, (N_FFT - HOP) // 2), mode="reflect")[:, 0]
    window = torch.hann_window(N_FFT, device=waves.device)
    spectrum = torch.stft(padded, N_FFT, HOP, window=window, center=False, return_complex=True).abs()
    mel = _filters().to(waves.device) @ spectrum
    return mel.clamp_min(1e-5).log().transpose(1, 2).to(waves.dtype)


DECODER = AudioLdm2Decoder
