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
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Transform:
    name: str
    version: str
    modality: str
    make: Callable[[Sequence[np.ndarray], dict[str, Any]], np.ndarray]


@cache
def transforms() -> dict[str, Transform]:
    """All transforms, by name."""
    modules = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
    registered = [module.DERIVATION for module in modules]
    return {item.name: item for item in sorted(registered, key=lambda item: item.name)}
