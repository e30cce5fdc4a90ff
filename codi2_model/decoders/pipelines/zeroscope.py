"""Zeroscope v2 video decoder (TextToVideoSDPipeline of diffusers): features replace the tokens of the prompt."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from diffusers import UNet3DConditionModel

from codi2_model.decoders.diffusion import Condition
from codi2_model.decoders.latent import Bridge, LatentDecoder


class ZeroscopeDecoder(LatentDecoder):
    """Decoder of videos (N, 3, T, S, S); the autoencoder processes single frames."""

    unet_class: ClassVar[Any] = UNet3DConditionModel

    def build_condition(self) -> None:
        width = int(self.unet.config.cross_attention_dim)
        self.prompt = Bridge(self.slots * self.feature_dim, self.options.image_tokens, width)

    def condition(self, features: torch.Tensor, dropped: torch.Tensor) -> Condition:
        return {"prompt": self.prompt(features * (self.feature_dim**0.5 / self.scale), dropped)}

    def denoise(
        self, noisy: torch.Tensor, source: torch.Tensor | None, times: torch.Tensor, condition: Condition
    ) -> torch.Tensor:
        inputs = self._with_source(noisy, source)
        return self.unet(inputs, times, encoder_hidden_states=condition["prompt"]).sample

    def encode(self, media: torch.Tensor) -> torch.Tensor:
        frames = super().encode(media.transpose(1, 2).flatten(0, 1))
        return frames.unflatten(0, (len(media), -1)).transpose(1, 2)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        frames = super().decode(latents.transpose(1, 2).flatten(0, 1))
        return frames.unflatten(0, (len(latents), -1)).transpose(1, 2)


DECODER = ZeroscopeDecoder
