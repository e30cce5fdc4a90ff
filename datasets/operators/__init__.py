"""Operators measure one medium each. Each is one small file with an `OPERATOR`; adding a file registers it.

An operator is `name`, `version`, `modality` and `measure(medium) -> {signal: number, string or vector}`. An image is an
(H, W, 3) uint8 array, audio is float32 mono samples in [-1, 1] at 16 kHz, a video is (T, H, W, 3) uint8 and text a str.
A vector is a one-dimensional float32 array. An operator does not depend on how it is run. Its models are loaded on
first use and cached (`functools.cache`); a missing package raises an error that names the package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from codi2_datasets.runtime.plugins import Kind

Signals = Mapping[str, float | str | np.ndarray]


@dataclass(frozen=True)
class Operator:
    name: str
    version: str
    modality: str
    measure: Callable[[Any], Signals]
    measure_all: Callable[[Sequence[Any]], list[Signals]] | None = None
    """Measures many media at once, for models that are faster that way; media that fail are retried one by one with
    `measure`.
    """
    packages: tuple[str, ...] = ()
    """Optional packages it needs, by the names in `codi2_datasets.pretrained.packages`."""


KIND = Kind("operators", __name__, "OPERATOR", required=True)


@cache
def operators() -> dict[str, Operator]:
    """All operators, by name."""
    return KIND.parts()
