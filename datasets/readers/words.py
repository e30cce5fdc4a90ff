"""Text rows, including texts that refer to media.

The payload is a JSON list of strings. A text that refers to media names them in the attribute `media`, a list of the
media rows' `ref` attributes. The names are also appended to the payload, so that equal words about other media are
another text. Likewise `related` names other texts by their `ref`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.formats.hashing import digest, sha256
from codi2_datasets.readers.base import CorpusLocation
from codi2_datasets.readers.media import RawMedium
from codi2_datasets.readers.values import known

MARK = "\ufffc"  # stands in a text for the next of its media, if their positions are known


def words(
    place: CorpusLocation,
    locator: str,
    turns: Sequence[str],
    attributes: dict[str, Any],
    licence: str,
    author: str,
    media: Sequence[str] = (),
) -> SourceRow:
    """A text row; `media` are the refs of the media it refers to, in order."""
    payload = [*turns, *([f"media: {' '.join(media)}"] if media else [])]
    own_attributes = {**attributes, **known(media=list(media))}
    return SourceRow(place.corpus, locator, "text", json.dumps(payload, ensure_ascii=False), "application/json",
                     licence, author or "unknown", "", own_attributes)  # fmt: skip


def shown(
    place: CorpusLocation,
    locator: str,
    media: RawMedium,
    ref: str,
    attributes: dict[str, Any],
    licence: str,
    author: str,
    caption: str = "",
) -> SourceRow:
    """A media row that texts can refer to by `ref`."""
    return SourceRow(place.corpus, locator, media.modality, media.data, media.media_type, licence,
                     author or "unknown", caption, {"kind": "photo", **attributes, "ref": ref})  # fmt: skip


def content_ref(data: bytes) -> str:
    """A name derived from the content, for media without a name."""
    return sha256(data)[:24]


def family_of(*texts: str) -> str:
    """Equal texts are of one family, and so on one side of a split."""
    return digest([" ".join(text.lower().split()) for text in texts])[:16]
