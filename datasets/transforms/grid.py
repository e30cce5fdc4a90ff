"""Place images in the cells of a square grid of the first input's size. Cells without an input stay white.

Params: columns (the number of rows is the same), and cells, row by row: the index of an input, or -1. Drawings are
trimmed to their ink, so that each fills its cell except for a narrow margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from codi2_datasets.media.cutout import cutout, trimmed
from codi2_datasets.transforms import Transform
from codi2_datasets.transforms.overlay import place

FILL = 0.88  # of a cell's side


def make(inputs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    height, width = inputs[0].shape[:2]
    sheet = Image.new("RGB", (width, height), (255, 255, 255))
    columns = params["columns"]
    layers = [trimmed(cutout(picture)) for picture in inputs]
    for cell, number in enumerate(params["cells"]):
        if number >= 0:
            row, column = divmod(cell, columns)
            place(sheet, layers[number], (column + 0.5) / columns, (row + 0.5) / columns, FILL / columns)
    return np.asarray(sheet)


DERIVATION = Transform("grid", "1", "image", make)
