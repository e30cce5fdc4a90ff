"""Shrink a drawing on white, centred in its image. Params: scale, as a share of the image's sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from codi2_datasets.transforms import Transform


def make(inputs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    height, width = inputs[0].shape[:2]
    size = max(1, round(width * params["scale"])), max(1, round(height * params["scale"]))
    sheet = Image.new("RGB", (width, height), (255, 255, 255))
    small = Image.fromarray(inputs[0]).resize(size, Image.Resampling.LANCZOS)
    sheet.paste(small, ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.asarray(sheet)


DERIVATION = Transform("resize", "1", "image", make)
