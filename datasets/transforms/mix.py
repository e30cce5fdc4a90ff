"""Mix audio tracks. Params: gains, and offsets in seconds, one of each per input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codi2_datasets.media.audio import mix
from codi2_datasets.transforms import Transform


def make(inputs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    return mix(inputs, params["gains"], params["offsets"])


DERIVATION = Transform("mix", "1", "audio", make)
