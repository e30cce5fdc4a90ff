"""Cut a segment out of audio, with a short fade at each cut. Params: start and end, as shares of its duration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.media.audio import fade_out
from codi2_datasets.transforms import Transform

FADE_SECONDS = 0.01  # so that the cut does not click


def make(inputs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    sound = inputs[0]
    start, end = (round(params[name] * len(sound)) for name in ("start", "end"))
    kept, fade = sound[start : max(end, start + 1)], round(FADE_SECONDS * SAMPLE_RATE)
    if end < len(sound):
        kept = fade_out(kept, fade)
    if start > 0:
        kept = fade_out(kept[::-1], fade)[::-1]
    return np.ascontiguousarray(kept, dtype=np.float32)


DERIVATION = Transform("trim", "1", "audio", make)
