"""Objects in images with their masks: from COCO's annotations, or from a segmentation model of transformers.

Rows have them as attribute `entities`: [{name, mask}], largest first; the composition planner cuts them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from codi2_datasets.media import MediaError
from codi2_datasets.media.image import decode_image
from codi2_datasets.media.masks import encode_mask, fitted, polygon_mask, run_mask
from codi2_datasets.readers.base import ConnectorError

MOST = 3  # entities per image
SHARES = (0.02, 0.6)  # of the square: smaller ones are not visible, larger ones are the image itself
CERTAIN = 0.8  # minimum score of a segment


def entities(masks: Iterable[tuple[str, np.ndarray]]) -> list[dict[str, str]]:
    """The largest named masks on the grid; of equal names only the largest."""
    sized = sorted(
        ((float(mask.mean()), name, encode_mask(mask)) for name, mask in masks), key=lambda item: (-item[0], *item[1:])
    )
    kept: dict[str, str] = {}
    for share, name, mask in sized:
        if name and SHARES[0] <= share <= SHARES[1]:
            kept.setdefault(name, mask)
    return [{"name": name, "mask": mask} for name, mask in list(kept.items())[:MOST]]


def annotated(annotation: Mapping[str, Any], width: int, height: int) -> np.ndarray | None:
    """The mask of a COCO annotation; None if it is a crowd or invalid."""
    segments = annotation.get("segmentation")
    try:
        if annotation.get("iscrowd") or not segments or min(width, height) < 1:
            return None
        if isinstance(segments, dict):
            rows, columns = segments["size"]
            return run_mask(segments["counts"], int(rows), int(columns))
        return polygon_mask([[float(value) for value in outline] for outline in segments], width, height)
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def segmented(data: bytes, folder: str) -> list[dict[str, str]]:
    """The objects that the model in a local folder segments; none for an image that cannot be read."""
    try:
        picture = decode_image(data)
    except MediaError:
        return []
    masks = []
    for segment in segmenter(folder)(picture, threshold=CERTAIN):
        if float(segment.get("score") or 1.0) >= CERTAIN:
            mask = np.asarray(segment["mask"].convert("L")) > 127
            masks.append((str(segment["label"]).replace("-", " ").strip(), fitted(mask)))
    return entities(masks)


@lru_cache(maxsize=1)
def segmenter(folder: str) -> Any:
    """A panoptic or instance segmentation model (Mask2Former, MaskFormer, DETR, ...) from its folder, loaded once.

    Raises ConnectorError.
    """
    import torch
    from transformers import pipeline

    torch.set_num_threads(1)  # there is one worker per core, and one thread gives reproducible sums
    try:
        return pipeline("image-segmentation", model=folder, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConnectorError(f"option segment: {folder}: no segmentation model of transformers: {reason}") from error
