"""Transforms that derive one medium from others.

Each is one small file with a `DERIVATION`; adding a file registers it.

A planner requests one by a struct (op, params, inputs). The plan names the result by the hash of operator, version,
parameters and input ids, before any bytes are made. `make` gets the decoded inputs in order: an image as an (H, W, 3)
uint8 array, audio as float32 mono samples in [-1, 1] at 16 kHz, a video as (T, H, W, 3) uint8. It returns one decoded
medium of `modality`, raises MediaError if that cannot be made, and depends on nothing but its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from codi2_datasets.runtime.plugins import Kind


@dataclass(frozen=True)
class Transform:
    name: str
    version: str
    modality: str
    make: Callable[[Sequence[np.ndarray], dict[str, Any]], np.ndarray]


KIND = Kind("transforms", __name__, "DERIVATION", required=True)


@cache
def transforms() -> dict[str, Transform]:
    """All transforms, by name."""
    return KIND.parts()
