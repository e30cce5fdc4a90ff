"""Rows of text, and of text that speaks of media.

The payload is a JSON list of strings, as everywhere in this house. A text that speaks of media names them by the attribute
`media`, a list of what the media's own rows carry as `ref`; the names close the payload too, so that the same words over
other media are another text. Likewise `related` names other texts by their `ref`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from codi2_datasets.connectors.base import Place
from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.formats.hashing import digest, sha256
from codi2_datasets.readers.media import Medium
from codi2_datasets.readers.values import known

MARK = "\ufffc"  # stands in a text for the next of its media, where these have places


def words(
    place: Place,
    locator: str,
    turns: Sequence[str],
    attributes: dict[str, Any],
    licence: str,
    author: str,
    media: Sequence[str] = (),
) -> SourceRow:
    """A text row; `media` are the refs of what it speaks of, in their order."""
    payload = [*turns, *([f"media: {' '.join(media)}"] if media else [])]
    told = {**attributes, **known(media=list(media))}
    return SourceRow(place.corpus, locator, "text", json.dumps(payload, ensure_ascii=False), "application/json",
                     licence, author or "unknown", "", told)  # fmt: skip


def shown(
    place: Place,
    locator: str,
    found: Medium,
    ref: str,
    attributes: dict[str, Any],
    licence: str,
    author: str,
    caption: str = "",
) -> SourceRow:
    """An image row that texts can name by `ref`."""
    return SourceRow(place.corpus, locator, found.modality, found.data, found.media_type, licence,
                     author or "unknown", caption, {"kind": "photo", **attributes, "ref": ref})  # fmt: skip


def content_ref(data: bytes) -> str:
    """A name made of the content, for media that have none of their own."""
    return sha256(data)[:24]


def family_of(*said: str) -> str:
    """Rows that say the same are of one family, and so on one side of a split."""
    return digest([" ".join(text.lower().split()) for text in said])[:16]
