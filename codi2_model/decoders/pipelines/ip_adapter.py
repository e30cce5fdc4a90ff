"""Stable Diffusion XL decoder with IP-Adapter (Ye et al. 2023): separate cross-attention for features and text.

Uses the processors and the projection of diffusers, so that weights published for them load. The text is the empty prompt.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0, IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection, MultiIPAdapterImageProjection
from torch import nn

from codi2_model.decoders.diffusion import Condition
from codi2_model.decoders.latent import PROMPT_TOKENS, LatentDecoder, empty_prompt
from codi2_model.decoders.paths import rows


class IpAdapterDecoder(LatentDecoder):
    """Image decoder of Stable Diffusion XL with image tokens from features."""

    unet_class: ClassVar[Any] = UNet2DConditionModel

    no_prompt: torch.Tensor
    no_pooled: torch.Tensor

    def build_condition(self) -> None:
        config = self.unet.config
        width = int(config.cross_attention_dim)
        pooled = int(config.projection_class_embeddings_input_dim) - 6 * int(config.addition_time_embed_dim)
        tokens = self.options.image_tokens
        self.unet.encoder_hid_proj = MultiIPAdapterImageProjection(
            [ImageProjection(self.slots * self.feature_dim, width, tokens)]
        )
        self.unet.config.encoder_hid_dim_type = "ip_image_proj"
        self.unet.set_attn_processor(self._processors(width, tokens))
        self.register_buffer("no_prompt", torch.zeros(1, PROMPT_TOKENS, width))
        self.register_buffer("no_pooled", torch.zeros(1, pooled))

    def _processors(self, width: int, tokens: int) -> dict[str, Any]:
        """Attention processors: default ones for self-attention, IP-Adapter for cross-attention."""
        processors: dict[str, Any] = {}
        channels = list(self.unet.config.block_out_channels)
        for name in self.unet.attn_processors:
            block = name.split(".")
            if name.endswith("attn1.processor"):
                processors[name] = AttnProcessor2_0()
                continue
            hidden = channels[-1]
            if block[0] == "down_blocks":
                hidden = channels[int(block[1])]
            elif block[0] == "up_blocks":
                hidden = channels[::-1][int(block[1])]
            processors[name] = IPAdapterAttnProcessor2_0(hidden, width, num_tokens=(tokens,))
        return processors

    def unet_state(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        own = {
            k: v for k, v in self.unet.state_dict().items() if ".processor." in k or k.startswith("encoder_hid_proj")
        }
        return super().unet_state(state) | own

    def load_condition(self, source: str) -> None:
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        first, _ = empty_prompt(source, CLIPTextModel, "text_encoder", "tokenizer", layer=-2)
        second, output = empty_prompt(source, CLIPTextModelWithProjection, "text_encoder_2", "tokenizer_2", layer=-2)
        self.no_prompt.copy_(torch.cat([first, second], dim=-1))
        self.no_pooled.copy_(output.text_embeds)

    def published(self) -> list[str]:
        return ["vae."]  # the UNet also has the trained adapter

    def trained(self) -> list[nn.Module]:
        parts = super().trained()
        if not self.options.train_unet:
            adapters = [p for p in self.unet.attn_processors.values() if isinstance(p, nn.Module)]
            parts += [self.unet.encoder_hid_proj, *adapters]
        return parts

    def condition(self, features: torch.Tensor, dropped: torch.Tensor) -> Condition:
        count = len(features)
        image = self._published_scale(features).flatten(1)
        height, width = self.shape[-2:]
        times = torch.tensor([height, width, 0, 0, height, width], device=features.device, dtype=features.dtype)
        return {
            "image": image * rows(~dropped, image),
            "prompt": self.no_prompt.expand(count, -1, -1),
            "pooled": self.no_pooled.expand(count, -1),
            "times": times.expand(count, -1),
        }

    def denoise(
        self, noisy: torch.Tensor, source: torch.Tensor | None, times: torch.Tensor, condition: Condition
    ) -> torch.Tensor:
        added = {
            "text_embeds": condition["pooled"],
            "time_ids": condition["times"],
            "image_embeds": [condition["image"][:, None]],
        }
        return self.unet(
            self._with_source(noisy, source),
            times,
            encoder_hidden_states=condition["prompt"].to(noisy.dtype),
            added_cond_kwargs=added,
        ).sample


DECODER = IpAdapterDecoder
