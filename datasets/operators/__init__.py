"""Operators measure one medium. Each is one small file with an `OPERATOR`; adding a file adds the operator.

An operator is `name`, `version`, `modality` and `measure(medium) -> {signal: value}`, where a picture is an
(H, W, 3) uint8 array and a sound float32 mono samples in [-1, 1] at 16 kHz. It knows nothing of who runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import numpy as np


@dataclass(frozen=True)
class Operator:
    name: str
    version: str
    modality: str
    measure: Callable[[np.ndarray], dict[str, float]]


@cache
def operators() -> dict[str, Operator]:
    """Every operator, by name."""
    modules = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
    found = [module.OPERATOR for module in modules]
    return {operator.name: operator for operator in sorted(found, key=lambda operator: operator.name)}
