"""Masks of objects in images, on a small grid over the square that the image is normalised to.

A mask is encoded as '96:0 12 30 ...': the side of the grid, then run lengths row by row, starting with background.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

GRID = 96
MAX_SIDE = 1024


def encode_mask(mask: np.ndarray) -> str:
    """(N, N) bool -> string."""
    flat = np.concatenate([[False], mask.ravel().astype(bool)])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(np.concatenate([[0], edges, [mask.size]]))
    return f"{mask.shape[0]}:{' '.join(map(str, runs.tolist()))}"


def decode_mask(text: str) -> np.ndarray:
    """String -> (N, N) bool. Raises ValueError for anything that `encode_mask` did not write."""
    side, _, lengths = text.partition(":")
    size, runs = int(side), [int(run) for run in lengths.split()]
    if not 0 < size <= MAX_SIDE or any(run < 0 for run in runs) or sum(runs) != size * size:
        raise ValueError("mask: its runs do not fill its grid")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size, size)


def fitted(mask: np.ndarray, grid: int = GRID) -> np.ndarray:
    """(H, W) bool -> (grid, grid): centred in a square, as `media.image.fit` places the image."""
    height, width = mask.shape
    scale = grid / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    square = np.zeros((grid, grid), dtype=bool)
    left, top = (grid - size[0]) // 2, (grid - size[1]) // 2
    square[top : top + size[1], left : left + size[0]] = np.asarray(small) > 127
    return square


def polygon_mask(polygons: Sequence[Sequence[float]], width: int, height: int, grid: int = GRID) -> np.ndarray:
    """Outlines [x, y, x, y, ...] in pixels of a (width, height) image -> (grid, grid) bool."""
    scale = grid / max(width, height)
    left, top = (grid - round(width * scale)) / 2, (grid - round(height * scale)) / 2
    canvas = Image.new("L", (grid, grid))
    pen = ImageDraw.Draw(canvas)
    for outline in polygons:
        points = [(left + x * scale, top + y * scale) for x, y in zip(outline[::2], outline[1::2], strict=False)]
        if len(points) >= 3:
            pen.polygon(points, fill=255)
    return np.asarray(canvas) > 127


def run_mask(counts: Sequence[int] | str, height: int, width: int, grid: int = GRID) -> np.ndarray:
    """COCO run lengths, column by column, as numbers or packed into a string -> (grid, grid) bool. Raises ValueError."""
    runs = unpack_runs(counts) if isinstance(counts, str) else [int(run) for run in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError("mask: its runs do not fill its picture")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return fitted(flat.reshape(width, height).T, grid)


def unpack_runs(text: str) -> list[int]:
    """Decode COCO's packed run lengths: five bits per letter, each run from the third on as the difference to the last
    but one.
    """
    runs: list[int] = []
    at = 0
    while at < len(text):
        value = shift = 0
        more = True
        while more:
            if at == len(text):
                raise ValueError("mask: its text breaks off")
            letter = ord(text[at]) - 48
            value |= (letter & 31) << shift
            more, at, shift = bool(letter & 32), at + 1, shift + 5
            if not more and letter & 16:
                value |= -1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs
