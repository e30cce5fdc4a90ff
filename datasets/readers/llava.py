"""Parses entries in LLaVA's format: names of media, and their marks in the turns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from codi2_datasets.readers.values import Bad, string

MARKS = {"image": "<image>", "video": "<video>", "audio": "<audio>"}
SPLIT = re.compile(f"({'|'.join(map(re.escape, MARKS.values()))})")
Pieces = list[tuple[str, str]]
"""A turn as ('text', words) and (modality, name of a medium), in order."""


def media_of(entry: Mapping[str, Any]) -> dict[str, list[str]] | Bad:
    """The names of an entry's media by modality: `image` or `images` holds a name or a list of names, and so on."""
    by_modality: dict[str, list[str]] = {}
    for modality in MARKS:
        values = [entry.get(field) for field in (modality, f"{modality}s") if entry.get(field)]
        names = [name for value in values for name in (value if isinstance(value, list) else [value])]
        if not all(string(name) for name in names):
            return Bad(f"{modality}: a name is no string")
        if names:
            by_modality[modality] = [string(name) for name in names]
    return by_modality


def in_place(turns: Iterable[str], media: Mapping[str, list[str]]) -> list[Pieces] | Bad:
    """The turns split at their marks; each mark stands for the next medium of its modality."""
    turns = list(turns)
    marks = {mark: modality for modality, mark in MARKS.items()}
    if list(media) == ["video"] and not any(MARKS["video"] in turn for turn in turns):
        marks = {MARKS["image"]: "video"}  # LLaVA-Video writes <image> for a video
    waiting = {modality: iter(names) for modality, names in media.items()}
    placed: list[Pieces] = []
    for turn in turns:
        pieces: Pieces = []
        for piece in SPLIT.split(turn):
            if piece in MARKS.values():
                modality = marks.get(piece, "")
                name = next(waiting[modality], None) if modality in waiting else None
                if name is None:
                    return Bad(f"more {piece} than media")
                pieces.append((modality, name))
            elif piece:
                pieces.append(("text", piece))
        placed.append(pieces)
    left = [modality for modality, names in waiting.items() if next(names, None) is not None]
    return Bad(f"fewer marks than media: {left[0]}") if left else placed
