"""SigLIP (Zhai et al. 2023): features of images and videos."""

from __future__ import annotations

from torch import Tensor
from transformers import SiglipConfig, SiglipVisionModel

from codi2_model.encoders.transformers_family import ImageFamily


class SiglipFamily(ImageFamily):
    """SigLIP's vision tower with its attention pooling."""

    model_class = SiglipVisionModel
    whole_config = SiglipConfig

    def _embed(self, pixels: Tensor, grid: int) -> Tensor:
        return self.model(pixels).pooler_output[:, None]


FAMILY = SiglipFamily
