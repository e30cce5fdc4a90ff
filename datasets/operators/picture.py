"""Ink, coverage and colour statistics of an image: detects blank, tiny and broken images."""

from __future__ import annotations

import numpy as np

from codi2_datasets.media.cutout import background
from codi2_datasets.operators import Operator


def measure(image: np.ndarray) -> dict[str, float]:
    """Shares of the image area, unless stated otherwise.

    `ink`: pixels that differ from white by more than 8 of 255; `contrast`: standard deviation of luma over 255;
    `coverage`: what remains without the white that touches the border, the opaque part of a cut-out; `extent`: the
    longer side of the rectangle around that; `colours`: number of colours, at 16 levels per channel.
    """
    pixels = image.astype(np.float32)
    ink = float((np.abs(255.0 - pixels).max(axis=2) > 8).mean())
    luma = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    drawn = np.invert(background(image))
    levels = (image >> 4).astype(np.int64)
    colours = np.bincount((levels @ np.array([256, 16, 1])).ravel(), minlength=4096)
    return {
        "ink": round(ink, 6),
        "contrast": round(float(luma.std()) / 255.0, 6),
        "coverage": round(float(drawn.mean()), 6),
        "extent": round(max(span(drawn, 0), span(drawn, 1)), 6),
        "colours": float(np.count_nonzero(colours)),
    }


def span(drawn: np.ndarray, axis: int) -> float:
    """From the first row (axis 0) or column (1) with a mark to the last, as a share of all."""
    places = np.flatnonzero(drawn.any(axis=1 - axis))
    return float(places[-1] - places[0] + 1) / drawn.shape[axis] if places.size else 0.0


OPERATOR = Operator("picture", "2", "image", measure)
