"""Change the speed of audio by resampling, which changes its pitch too. Params: factor, 2 for twice as fast."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from codi2_datasets.media.audio import below_full, resample
from codi2_datasets.transforms import Transform


def make(inputs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    ratio = Fraction(params["factor"]).limit_denominator(100)
    return below_full(resample(inputs[0].astype(np.float64), ratio.numerator, ratio.denominator))


DERIVATION = Transform("speed", "1", "audio", make)
