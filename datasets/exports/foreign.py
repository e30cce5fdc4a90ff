"""Samples from folders that others wrote: what their format does not say is filled in, and counted."""

from __future__ import annotations

from collections.abc import Sequence

from codi2_datasets.exports.base import Loss, Reading
from codi2_datasets.identity import digest
from codi2_datasets.sample import Message, Sample

SPLITS = ("train", "validation", "test")


def sample_of(place: str, messages: Sequence[Message], split: str, reading: Reading, loss: Loss) -> Sample:
    """A sample of these messages. `place` names it within the folder; media get no asset ids, parts no roles."""
    for name in ("sample id", "seed", "in-context role", "asset id"):
        loss.lost[f"{name} (not told)"] += 1
    known = split if split in SPLITS else "train"
    name = digest([place, [[m.role, [[p.type, p.text, p.part] for p in m.content]] for m in messages]])[:32]
    return Sample(name, reading.task, known, tuple(messages), reading.licence, seed=0)  # type: ignore[arg-type]
