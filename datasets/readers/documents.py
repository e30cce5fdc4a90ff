"""Documents in which pictures stand between texts, cut into stretches of a few pictures each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MOST = 3  # pictures of a stretch
LONGEST = 1_000  # characters of a text between two pictures


@dataclass(frozen=True)
class Stretch:
    """`texts` stand before, between and after `images`: one more than these."""

    texts: tuple[str, ...]
    images: tuple[str, ...]


def stretches(parts: Sequence[tuple[str, str]]) -> Iterator[Stretch]:
    """Parts are ('text', words) and ('image', ref), in order. What stands between two stretches belongs to the first;
    one without any words is left out."""
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
