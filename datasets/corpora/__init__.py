"""Corpora. Each is one small file with a `CORPUS` (or several, `CORPORA`); adding a file registers it."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from codi2_datasets.corpora.attributes import Attribute
from codi2_datasets.corpora.base import Corpus, RejectedRow, SourceRow

__all__ = ["Attribute", "Corpus", "RejectedRow", "SourceRow", "attributes", "corpora"]


@cache
def corpora() -> dict[str, Corpus]:
    """All corpora, by name. Raises ValueError if two have the same name."""
    by_name: dict[str, Corpus] = {}
    for info in iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        single = getattr(module, "CORPUS", None)
        for corpus in getattr(module, "CORPORA", () if single is None else (single,)):
            if corpus.name in by_name:
                raise ValueError(f"two corpora are named {corpus.name!r}")
            by_name[corpus.name] = corpus
    return dict(sorted(by_name.items()))


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
