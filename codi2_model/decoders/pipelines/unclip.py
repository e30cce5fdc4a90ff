"""Stable Diffusion 2.1 unCLIP decoder: features replace the CLIP image embedding that the UNet was trained on.

Tensors as in StableUnCLIPImg2ImgPipeline of diffusers at noise level 0, without the residual noise of that level.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from torch import nn

from codi2_model.decoders.diffusion import Condition
from codi2_model.decoders.latent import PROMPT_TOKENS, LatentDecoder, empty_prompt
from codi2_model.decoders.paths import rows


class UnclipDecoder(LatentDecoder):
    """Image decoder of unCLIP. Features of another width than the published one pass a linear layer."""

    unet_class: ClassVar[Any] = UNet2DConditionModel

    no_prompt: torch.Tensor

    def build_condition(self) -> None:
        config = self.unet.config
        self.width = int(config.projection_class_embeddings_input_dim) // 2
        inputs = self.slots * self.feature_dim
        self.bridge: nn.Module = nn.Identity() if inputs == self.width else nn.Linear(inputs, self.width)
        self.register_buffer("no_prompt", torch.zeros(1, PROMPT_TOKENS, config.cross_attention_dim))

    def load_condition(self, source: str) -> None:
        from transformers import CLIPTextModel

        self.no_prompt.copy_(empty_prompt(source, CLIPTextModel, "text_encoder", "tokenizer")[0])

    def condition(self, features: torch.Tensor, dropped: torch.Tensor) -> Condition:
        embedding = self.bridge(self._published_scale(features).flatten(1))
        level = get_timestep_embedding(torch.zeros(len(features), device=features.device), self.width, True, 0)
        labels = torch.cat([embedding, level.to(embedding)], dim=1)
        return {"labels": labels * rows(~dropped, labels), "prompt": self.no_prompt.expand(len(features), -1, -1)}

    def denoise(
        self, noisy: torch.Tensor, source: torch.Tensor | None, times: torch.Tensor, condition: Condition
    ) -> torch.Tensor:
        inputs, prompt = self._with_source(noisy, source), condition["prompt"].to(noisy.dtype)
        return self.unet(inputs, times, encoder_hidden_states=prompt, class_labels=condition["labels"]).sample


DECODER = UnclipDecoder
