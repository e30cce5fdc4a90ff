"""Cuts drawings out of their white background.

White is background if it is connected to the border: the white of an eye stays. At the edge, where drawing and white
are blended, each pixel gets the alpha that explains its colour, so that no pale rim remains.
"""

from __future__ import annotations

import numpy as np
import scipy  # loads its parts on first use

NEAR_WHITE = 248  # of 255, in every channel
RIM = 2  # pixels along the edge in which drawing and white may be blended
TOLERANCE = 12  # of 255, in any channel, for a pixel to count as a blend


def background(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) bool: the white that is connected to the border by horizontal and vertical steps."""
    white = picture.min(axis=2) >= NEAR_WHITE
    labels, _ = scipy.ndimage.label(white)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.isin(labels, border[border > 0])


def cutout(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 on white -> (H, W, 4) uint8 with the white around the drawing made transparent."""
    outside = background(picture)
    layered = np.dstack([picture, np.where(outside, 0, 255).astype(np.uint8)])
    rim = scipy.ndimage.binary_dilation(outside, np.ones((3, 3)), iterations=RIM) & ~outside
    own = 255.0 - picture.reshape(-1, 3)[inkiest(picture)[rim]]  # how far from white the drawing's own colour is
    here = 255.0 - picture[rim]
    share = np.clip((here * own).sum(axis=1) / np.maximum((own * own).sum(axis=1), 1.0), 0.0, 1.0)
    # a pixel that is no blend of white and the drawing's own colour is another colour of the drawing, and is kept
    blended = np.abs(here - share[:, None] * own).max(axis=1) <= TOLERANCE
    layered[rim, :3] = np.where(blended[:, None], 255.0 - own, picture[rim]).astype(np.uint8)
    layered[rim, 3] = np.where(blended, np.rint(255 * share), 255).astype(np.uint8)
    return layered


def inkiest(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H, W): for each pixel, the index (row by row) of the pixel farthest from white within reach."""
    ink = 765 - picture.sum(axis=2, dtype=np.int64)
    places = np.arange(ink.size).reshape(ink.shape)
    return scipy.ndimage.maximum_filter(ink * ink.size + places, size=2 * RIM + 1) % ink.size


def trimmed(layer: np.ndarray) -> np.ndarray:
    """(H, W, 4) -> its smallest rectangle that contains everything opaque; the whole if nothing is."""
    rows, columns = np.flatnonzero(layer[..., 3].any(axis=1)), np.flatnonzero(layer[..., 3].any(axis=0))
    if not rows.size:
        return layer
    return layer[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
