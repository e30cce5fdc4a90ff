"""Splits documents of interleaved texts and images into sections with a few images each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MOST = 3  # images per section
LONGEST = 1_000  # characters of a text between two images


@dataclass(frozen=True)
class Stretch:
    """`texts` come before, between and after `images`: one more than these."""

    texts: tuple[str, ...]
    images: tuple[str, ...]


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
