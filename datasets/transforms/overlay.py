"""Place drawings on a scene. Inputs: the scene, then the drawings, each on white.

Params: x and y, the centre of each drawing as a share of the scene's sides from the left and the top, and scale, its
longer side as a share of the scene's. With `whole` (without x, y and scale) the drawings share the scene's canvas and
keep their positions. A drawing that would cross the border is moved inwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from codi2_datasets.media.cutout import cutout, trimmed
from codi2_datasets.transforms import Transform


def make(inputs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    scene = Image.fromarray(inputs[0])
    for n, thing in enumerate(inputs[1:]):
        layer = cutout(thing)
        if params.get("whole"):
            scene.paste(sized(layer, scene.size), (0, 0), sized(layer, scene.size))
        else:
            place(scene, trimmed(layer), params["x"][n], params["y"][n], params["scale"][n])
    return np.asarray(scene)


def place(scene: Image.Image, layer: np.ndarray, x: float, y: float, scale: float) -> None:
    """Paste the layer onto the scene, centred at (x, y), with its longer side `scale` of the scene's width."""
    height, width = layer.shape[:2]
    factor = scale * scene.width / max(height, width)
    thing = sized(layer, (max(1, round(width * factor)), max(1, round(height * factor))))
    left = round(x * scene.width - thing.width / 2)
    top = round(y * scene.height - thing.height / 2)
    corner = max(0, min(left, scene.width - thing.width)), max(0, min(top, scene.height - thing.height))
    scene.paste(thing, corner, thing)


def sized(layer: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The (H, W, 4) layer resized to (width, height)."""
    return Image.fromarray(layer).resize(size, Image.Resampling.LANCZOS)


DERIVATION = Transform("overlay", "1", "image", make)
