"""Corpora. Each is one small file with a `CORPUS` (or several, `CORPORA`); adding a file registers it."""

from __future__ import annotations

from functools import cache

from codi2_datasets.corpora.attributes import Attribute
from codi2_datasets.corpora.base import Corpus, RejectedRow, SourceRow
from codi2_datasets.runtime.plugins import Kind

__all__ = ["Attribute", "Corpus", "RejectedRow", "SourceRow", "attributes", "corpora"]


KIND = Kind("corpora", __name__, "CORPUS", "CORPORA")


@cache
def corpora() -> dict[str, Corpus]:
    """All corpora, by name."""
    return KIND.parts()


def attributes() -> dict[str, Attribute]:
    """The attributes that corpora declare, by name. Raises ValueError if two corpora declare one differently."""
    by_name: dict[str, Attribute] = {}
    for corpus in corpora().values():
        for attribute in getattr(corpus, "attributes", ()):
            if by_name.setdefault(attribute.name, attribute) != attribute:
                raise ValueError(
                    f"corpus {corpus.name}: another corpus declares attribute {attribute.name!r} differently"
                )
    return by_name
