"""Derivations make one medium out of others. Each is one small file with a `DERIVATION`; adding a file adds it.

A planner asks for one by a struct (op, params, inputs); the plan names the result by the hash of operator, version,
parameters and input ids, before a byte is made. `make` gets the inputs decoded, in their order: a picture as an
(H, W, 3) uint8 array, a sound as float32 mono samples in [-1, 1] at 16 kHz, a clip as (T, H, W, 3) uint8. It returns
one decoded medium of `modality`, raises MediaError for what cannot be made, and depends on nothing but its arguments.
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
class Derivation:
    name: str
    version: str
    modality: str
    make: Callable[[Sequence[np.ndarray], dict[str, Any]], np.ndarray]


@cache
def derivations() -> dict[str, Derivation]:
    """Every derivation, by name."""
    modules = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
    found = [module.DERIVATION for module in modules]
    return {item.name: item for item in sorted(found, key=lambda item: item.name)}
