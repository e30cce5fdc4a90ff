"""Things in a picture and where they are: from COCO's annotations, or from a segmentation model of transformers.

Rows carry them as attribute `entities`: [{name, mask}], the largest first; the planner of composition cuts them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from codi2_datasets.connectors.base import ConnectorError
from codi2_datasets.media import MediaError
from codi2_datasets.media.image import decode_image
from codi2_datasets.media.masks import encode_mask, fitted, polygon_mask, run_mask

MOST = 3  # entities of a picture
SHARES = (0.02, 0.6)  # of the square: smaller is not seen, larger is the picture itself
CERTAIN = 0.8  # score of a segment that counts


def entities(found: Iterable[tuple[str, np.ndarray]]) -> list[dict[str, str]]:
    """The largest things of named masks on the grid; of things of one name the largest alone."""
    sized = sorted(
        ((float(mask.mean()), name, encode_mask(mask)) for name, mask in found), key=lambda item: (-item[0], *item[1:])
    )
    kept: dict[str, str] = {}
    for share, name, mask in sized:
        if name and SHARES[0] <= share <= SHARES[1]:
            kept.setdefault(name, mask)
    return [{"name": name, "mask": mask} for name, mask in list(kept.items())[:MOST]]


def annotated(annotation: Mapping[str, Any], width: int, height: int) -> np.ndarray | None:
    """The mask of one annotation of COCO; None where it is a crowd, or is not to be read."""
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
    """The things that the model of a local folder finds; none in a picture that cannot be read."""
    try:
        picture = decode_image(data)
    except MediaError:
        return []
    found = []
    for segment in segmenter(folder)(picture, threshold=CERTAIN):
        if float(segment.get("score") or 1.0) >= CERTAIN:
            mask = np.asarray(segment["mask"].convert("L")) > 127
            found.append((str(segment["label"]).replace("-", " ").strip(), fitted(mask)))
    return entities(found)


@lru_cache(maxsize=1)
def segmenter(folder: str) -> Any:
    """A panoptic or instance segmentation model (Mask2Former, MaskFormer, DETR, ...) from its folder, loaded once."""
    import torch
    from transformers import pipeline

    torch.set_num_threads(1)  # the data engine runs one worker a core, and one thread gives the same sums
    try:
        return pipeline("image-segmentation", model=folder, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConnectorError(f"option segment: {folder}: no segmentation model of transformers: {reason}") from error
