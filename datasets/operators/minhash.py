"""MinHash signature of a text over runs of three words: for near-duplicates."""

from __future__ import annotations

from codi2_datasets.dedup.minhash import as_words, signature
from codi2_datasets.media.text import plain, runs
from codi2_datasets.operators import Operator

SHINGLE = 3  # words


def measure(text: str) -> dict[str, str]:
    """`minhash`: 64 numbers of 32 bits, as 512 hexadecimal digits."""
    return {"minhash": as_words(signature(runs(plain(text), SHINGLE)))}


OPERATOR = Operator("minhash", "1", "text", measure)
