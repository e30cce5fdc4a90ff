"""CLIP (Radford et al. 2021): features of images, their patches and videos."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPVisionModelWithProjection

from codi2_model.encoders.imagebind.inputs import IMAGE_MEAN, IMAGE_STD
from codi2_model.encoders.transformers_family import ImageFamily


class ClipFamily(ImageFamily):
    """CLIP's vision tower with its projection. Patch features use the norm and projection of the class token."""

    model_class = CLIPVisionModelWithProjection
    whole_config = CLIPConfig
    mean, std = IMAGE_MEAN, IMAGE_STD
    grids = True

    def _embed(self, pixels: Tensor, grid: int) -> Tensor:
        output = self.model(pixels)
        if not grid:
            return output.image_embeds[:, None]
        side = self.config.image_size // self.config.patch_size
        if grid > side:
            raise ValueError(f"a grid of side {grid}, expected 1 to {side} patches")
        field = output.last_hidden_state[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        patches = F.adaptive_avg_pool2d(field, grid).flatten(2).transpose(1, 2)
        patches = self.model.visual_projection(self.model.vision_model.post_layernorm(patches))
        return torch.cat([output.image_embeds[:, None], patches], dim=1)


FAMILY = ClipFamily
