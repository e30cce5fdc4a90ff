"""Corpora. Each is one small file with a `CORPUS` (or several, `CORPORA`); adding a file registers it."""

from __future__ import annotations

from functools import cache

from codi2_datasets.corpora.base import Corpus, RejectedRow, SourceRow
from codi2_datasets.runtime.plugins import Kind

__all__ = ["Corpus", "RejectedRow", "SourceRow", "corpora"]


KIND = Kind("corpora", __name__, "CORPUS", "CORPORA")


@cache
def corpora() -> dict[str, Corpus]:
    """All corpora, by name."""
    return KIND.parts()
