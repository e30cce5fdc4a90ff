"""SigLIP (Zhai et al. 2023): features of images and videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import SiglipConfig, SiglipVisionConfig, SiglipVisionModel

from codi2_model.encoders.transformers_family import ImageFamily


class SiglipFamily(ImageFamily):
    """SigLIP's vision tower with its attention pooling."""

    model_class = SiglipVisionModel

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self.width = self.config.hidden_size

    @staticmethod
    def _config(values: dict[str, Any]) -> SiglipVisionConfig:
        if values.get("model_type") == "siglip_vision_model":
            return SiglipVisionConfig.from_dict(values)
        whole: Any = SiglipConfig.from_dict(values)
        return whole.vision_config

    def _embed(self, pixels: Tensor, grid: int) -> Tensor:
        return self.model(pixels).pooler_output[:, None]


FAMILY = SiglipFamily
