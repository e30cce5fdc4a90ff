"""Licences, as SPDX ids: what may stand side by side in a sample, and what may be made into one work.

`strictest` is for a sample that holds parts next to each other (a collection): each part keeps its licence, and the
sample is named after the one that asks most. `fusable` is for one work made of two, such as a mixture of two sounds:

  made of           and               gives
  permissive        permissive        the one that asks more
  permissive        share-alike       the share-alike one. But Apache-2.0 with GPL-2.0-or-later gives GPL-3.0-or-later
                                      (GPL-2.0 cannot take Apache's patent terms), with GPL-2.0-only nothing; and
                                      CC-BY-3.0 is not known to fit any GPL
  CC-BY-SA-3.0      CC-BY-SA-4.0      CC-BY-SA-4.0 (3.0 allows its later versions)
  GPL-2.0-or-later  GPL-3.0-or-later  GPL-3.0-or-later
  CC-BY-SA-*        GPL-*             nothing. CC-BY-SA-4.0 may go into GPL-3.0 works, one way; we do not use that door,
                                      since it takes the work away from the terms its author chose
  unknown           any other         nothing

Sources: creativecommons.org/share-your-work/licensing-considerations/compatible-licenses, gnu.org/licenses/license-list.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

# from the one that asks least to the one that asks most
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

# Two licences whose fusion is not simply the stricter of the two; None: they may not be fused.
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
    """The licence of a sample that holds parts under these, or None where share-alike licences that do not fit meet.

    Raises ValueError when there is none.
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
    """The licence of one work made of a work under `a` and one under `b`, or None if there may be no such work."""
    if "-ND-" in a or "-ND-" in b:
        return None
    if a == b:
        return a
    if a not in KNOWN or b not in KNOWN:
        return None
    pair = frozenset((a, b))
    return _EXCEPTIONS[pair] if pair in _EXCEPTIONS else max(a, b, key=KNOWN.index)


def fuse_all(licences: Iterable[str]) -> str | None:
    """The licence of one work made of works under all of these, in any order, or None: every two of them must fit."""
    distinct = sorted(set(licences))
    if not distinct or any(fusable(a, b) is None for a, b in combinations(distinct, 2)):
        return None
    result: str | None = distinct[0]
    for licence in distinct[1:]:
        result = fusable(result, licence) if result else None
    return result
