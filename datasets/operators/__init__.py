"""Operators measure one medium. Each is one small file with an `OPERATOR`; adding a file adds the operator.

An operator is `name`, `version`, `modality` and `measure(medium) -> {signal: number, words or vector}`, where a picture
is an (H, W, 3) uint8 array, a sound float32 mono samples in [-1, 1] at 16 kHz, a clip (T, H, W, 3) uint8 and text a
str. A vector is a one-dimensional float32 array. It knows nothing of who runs it. Models it needs are loaded on first
use and kept (`functools.cache`); what it needs and is not installed raises an error that names the package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np

Signals = Mapping[str, float | str | np.ndarray]


@dataclass(frozen=True)
class Operator:
    name: str
    version: str
    modality: str
    measure: Callable[[Any], Signals]
    measure_all: Callable[[Sequence[Any]], list[Signals]] | None = None
    """Many media at once, for models that are faster so; a medium that fails fails alone through `measure`."""
    packages: tuple[str, ...] = ()
    """What it needs beyond the usual, by the names in `codi2_datasets.pretrained.packages`."""


@cache
def operators() -> dict[str, Operator]:
    """Every operator, by name."""
    modules = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
    found = [module.OPERATOR for module in modules]
    return {operator.name: operator for operator in sorted(found, key=lambda operator: operator.name)}
