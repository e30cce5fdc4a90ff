"""Cut an object out of an image and scale it to fit, on white. Params: mask, in the format of `media.masks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from codi2_datasets.media import MediaError
from codi2_datasets.media.image import WHITE, fit
from codi2_datasets.media.masks import decode_mask
from codi2_datasets.transforms import Transform


def make(inputs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    height, width = inputs[0].shape[:2]
    try:
        mask = decode_mask(params["mask"])
    except ValueError as error:
        raise MediaError(str(error)) from error
    share = Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BILINEAR)
    box = share.point(lambda value: 255 if value > 127 else 0).getbbox()
    if box is None:
        raise MediaError("an empty mask")
    sheet = Image.new("RGB", (width, height), WHITE)
    sheet.paste(Image.fromarray(inputs[0]), (0, 0), share)
    return np.asarray(fit(sheet.crop(box), width))


DERIVATION = Transform("cut", "1", "image", make)
