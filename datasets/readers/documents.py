"""Splits documents of interleaved texts and images into sections with a few images each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.readers.base import CorpusLocation
from codi2_datasets.readers.values import WEB, Bad
from codi2_datasets.readers.words import words

MOST = 3  # images per section
LONGEST = 1_000  # characters of a text between two images


@dataclass(frozen=True)
class Stretch:
    """`texts` come before, between and after `images`: one more than these."""

    texts: tuple[str, ...]
    images: tuple[str, ...]


def document_rows(
    place: CorpusLocation, locator: str, parts: Sequence[tuple[str, str]] | Bad, family: str, author: str
) -> list[SourceRow] | Bad:
    """Text rows of a page of the web whose parts are texts and images. `family`: the page, if it is known."""
    if isinstance(parts, Bad):
        return parts
    attributes = {"kind": "document", "family": family or locator}
    return [
        words(place, f"{locator}/{k}", stretch.texts, attributes, WEB, author, stretch.images)
        for k, stretch in enumerate(stretches(parts))
    ] or Bad("no pictures among words")


def stretches(parts: Sequence[tuple[str, str]]) -> Iterator[Stretch]:
    """Parts are ('text', words) and ('image', ref), in order. Text between two sections belongs to the first.

    A section without any text is left out.
    """
    texts: list[str] = [""]
    images: list[str] = []
    for kind, value in parts:
        if kind == "text":
            texts[-1] = f"{texts[-1]}\n{value}".strip()[:LONGEST]
            continue
        if len(images) == MOST:
            if any(texts):
                yield Stretch(tuple(texts), tuple(images))
            texts, images = [""], []
        images.append(value)
        texts.append("")
    if images and any(texts):
        yield Stretch(tuple(texts), tuple(images))
