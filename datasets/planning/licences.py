"""Licences as SPDX ids: which works may appear in one sample, and which may be combined into one work.

`strictest` is for a sample that holds parts next to each other (a collection): each part keeps its licence, and the
sample gets the most restrictive one. `fusable` is for one work made of two, such as a mixture of two audio tracks:

  made of           and               gives
  permissive        permissive        the more restrictive one
  permissive        share-alike       the share-alike one. But Apache-2.0 with GPL-2.0-or-later gives GPL-3.0-or-later
                                      (GPL-2.0 cannot take Apache's patent terms), with GPL-2.0-only nothing; and
                                      CC-BY-3.0 is not known to be compatible with any GPL
  CC-BY-SA-3.0      CC-BY-SA-4.0      CC-BY-SA-4.0 (3.0 allows its later versions)
  GPL-2.0-or-later  GPL-3.0-or-later  GPL-3.0-or-later
  CC-BY-SA-*        GPL-*             nothing. CC-BY-SA-4.0 may go into GPL-3.0 works, one way; this is not used,
                                      since it removes the work from the terms its author chose
  unknown           any other         nothing

Sources: creativecommons.org/share-your-work/licensing-considerations/compatible-licenses,
gnu.org/licenses/license-list.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

# from the least to the most restrictive
PERMISSIVE = (
    "CC-PDM-1.0",
    "CC-PDDC",
    "CC0-1.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "WordNet",
    "Apache-2.0",
    "CC-BY-3.0",
    "CC-BY-4.0",
)
CREATIVE = ("CC-BY-SA-3.0", "CC-BY-SA-4.0")
GENERAL_PUBLIC = ("GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-or-later")
KNOWN = PERMISSIVE + CREATIVE + GENERAL_PUBLIC

# Pairs of licences whose combination is not simply the stricter one; None: they may not be combined.
_EXCEPTIONS: dict[frozenset[str], str | None] = {
    frozenset(("Apache-2.0", "GPL-2.0-or-later")): "GPL-3.0-or-later",
    frozenset(("Apache-2.0", "GPL-2.0-only")): None,
    frozenset(("CC-BY-4.0", "CC-BY-SA-3.0")): "CC-BY-SA-4.0",
    frozenset(("GPL-2.0-only", "GPL-2.0-or-later")): "GPL-2.0-only",
    frozenset(("GPL-2.0-only", "GPL-3.0-or-later")): None,
    **{frozenset(("CC-BY-3.0", gpl)): None for gpl in GENERAL_PUBLIC},
    **{frozenset((creative, gpl)): None for creative in CREATIVE for gpl in GENERAL_PUBLIC},
}


def strictest(licences: Iterable[str]) -> str | None:
    """The licence of a sample with parts under these; None if they include incompatible share-alike licences or
    unknown ones.

    Raises ValueError if `licences` is empty.
    """
    distinct = sorted(set(licences))
    if not distinct:
        raise ValueError("strictest: no licences given")
    if len(distinct) == 1:
        return distinct[0]
    if any(licence not in KNOWN for licence in distinct):
        return None
    share_alike = [licence for licence in distinct if licence not in PERMISSIVE]
    if not share_alike:
        return max(distinct, key=KNOWN.index)
    return fuse_all(share_alike)


def fusable(a: str, b: str) -> str | None:
    """The licence of one work made of a work under `a` and one under `b`, or None if such a work is not allowed."""
    if "-ND-" in a or "-ND-" in b:
        return None
    if a == b:
        return a
    if a not in KNOWN or b not in KNOWN:
        return None
    pair = frozenset((a, b))
    return _EXCEPTIONS[pair] if pair in _EXCEPTIONS else max(a, b, key=KNOWN.index)


def fuse_all(licences: Iterable[str]) -> str | None:
    """The licence of one work made of works under all of these, or None. Any two of them must be compatible."""
    distinct = sorted(set(licences))
    if not distinct or any(fusable(a, b) is None for a, b in combinations(distinct, 2)):
        return None
    result: str | None = distinct[0]
    for licence in distinct[1:]:
        result = fusable(result, licence) if result else None
    return result
