"""Corpora. Each is one small file with a `CORPUS` (or several, `CORPORA`); adding a file adds the corpus."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from codi2_datasets.corpora.base import Corpus, RejectedRow, SourceRow

__all__ = ["Corpus", "RejectedRow", "SourceRow", "corpora"]


@cache
def corpora() -> dict[str, Corpus]:
    """Every corpus, by name. Raises ValueError when two have one name."""
    found: dict[str, Corpus] = {}
    for info in iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        single = getattr(module, "CORPUS", None)
        for corpus in getattr(module, "CORPORA", () if single is None else (single,)):
            if corpus.name in found:
                raise ValueError(f"two corpora are named {corpus.name!r}")
            found[corpus.name] = corpus
    return dict(sorted(found.items()))
