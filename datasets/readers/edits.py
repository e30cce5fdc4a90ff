"""Image edits: an image, an instruction and the edited image give two image rows and a text row that links them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.readers.base import CorpusLocation
from codi2_datasets.readers.media import medium
from codi2_datasets.readers.values import Bad, text
from codi2_datasets.readers.words import content_ref, shown, words


@dataclass(frozen=True)
class Edit:
    """One row of a corpus of edits. `captions`: of the images before and after, '' if they have none."""

    locator: str
    before: bytes | None
    after: bytes | None
    instruction: Any
    family: str
    licence: str
    author: str
    captions: tuple[str, str] = ("", "")
    attributes: dict[str, Any] = field(default_factory=dict)


def edit_rows(place: CorpusLocation, edit: Edit) -> Iterator[SourceRow | RejectedRow]:
    instruction = text(edit.instruction)
    sides = [medium(data, edit.locator, ("image",)) for data in (edit.before, edit.after)]
    reason = "" if instruction else "no instruction"
    if edit.before is not None and edit.before == edit.after:
        reason = "nothing was changed"
    if bad := next((side for side in sides if isinstance(side, Bad)), None):
        reason = bad.reason
    if reason:
        yield RejectedRow(place.corpus, edit.locator, reason)
        return
    refs = []
    for name, side, caption in zip(("before", "after"), sides, edit.captions, strict=True):
        if not isinstance(side, Bad):
            refs.append(content_ref(side.data))
            attributes = {**edit.attributes, "family": edit.family}
            yield shown(place, f"{edit.locator}/{name}", side, refs[-1], attributes, edit.licence, edit.author, caption)
    text_attributes = {**edit.attributes, "kind": "edit", "family": edit.family}
    yield words(place, f"{edit.locator}/edit", [instruction], text_attributes, edit.licence, edit.author, refs)
