"""Reverse audio. No params."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codi2_datasets.transforms import Transform


def make(inputs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    return np.ascontiguousarray(inputs[0][::-1])


DERIVATION = Transform("reverse", "1", "audio", make)
