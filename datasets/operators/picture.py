"""How much of a picture is drawn, and how varied it is: finds blank and broken pictures."""

from __future__ import annotations

import numpy as np

from codi2_datasets.operators import Operator


def measure(image: np.ndarray) -> dict[str, float]:
    """`ink`: share of pixels that differ from white by more than 8 of 255; `contrast`: standard deviation of luma."""
    pixels = image.astype(np.float32)
    ink = float((np.abs(255.0 - pixels).max(axis=2) > 8).mean())
    luma = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return {"ink": round(ink, 6), "contrast": round(float(luma.std()) / 255.0, 6)}


OPERATOR = Operator("picture", "1", "image", measure)
