"""Length of a text in characters and words."""

from __future__ import annotations

from codi2_datasets.media.text import plain, words
from codi2_datasets.operators import Operator


def measure(text: str) -> dict[str, float]:
    """`characters` and `words`."""
    text = plain(text)
    return {"characters": float(len(text)), "words": float(len(words(text)))}


OPERATOR = Operator("length", "1", "text", measure)
