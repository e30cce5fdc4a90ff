"""What a format is, what goes through it, and what is counted as lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from codi2_datasets.formats.sample import Part, Sample
from codi2_storage.store import Store


class ExportError(ValueError):
    """A folder cannot be written or read in a format; the message names format and file."""


@dataclass(frozen=True)
class Item:
    """A sample and its media, by member name ('001.webp')."""

    sample: Sample
    media: dict[str, bytes]


@dataclass(frozen=True)
class Items:
    """Samples to be written, once, and what is known of them before: every member they have, with its modality."""

    found: Iterable[Item]
    members: Mapping[str, str]

    def __iter__(self) -> Iterator[Item]:
        return iter(self.found)


@dataclass
class Loss:
    """What a format cannot hold. `lost` counts things within samples, `left_out` samples by the reason."""

    written: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    rejects: list[dict[str, str]] = field(default_factory=list)
    """Of an import: each row that is left out, with its place and the reason."""

    def to_dict(self) -> dict[str, Any]:
        return {"written": self.written, "lost": dict(sorted(self.lost.items())),
                "left_out": dict(sorted(self.left_out.items())), **({"rejects": self.rejects} if self.rejects else {})}  # fmt: skip

    def reject(self, place: str, reason: str) -> None:
        """Count and name a row that cannot be imported."""
        self.left_out[reason] += 1
        self.rejects.append({"row": place, "reason": reason})

    def keep(self, item: Item, reason: str | None) -> bool:
        """Count the item as written or, where there is a reason against it, as left out."""
        if reason is None:
            self.written += 1
        else:
            self.left_out[reason] += 1
        return reason is None


@dataclass(frozen=True)
class Reading:
    """What must be told of a folder of others: they do not say."""

    task: str = "visual_question_answering"
    licence: str = "unknown"


@dataclass(frozen=True)
class Format:
    """One format. `write` takes each item once, in order; `read` yields them again, split by split.

    `files` is a regular expression of the names that `write` gives: no other file is ever removed.
    """

    name: str
    description: str
    files: str
    write: Callable[[Iterable[Item], Store], Loss]
    read: Callable[[Store, Reading, Loss], Iterator[Item]]


def roles_lost(sample: Sample, loss: Loss, *kept: str) -> None:
    """Count the fields of a sample that a format without a place for them loses, but for those `kept`."""
    for message in sample.messages:
        for part in message.content:
            # who keeps targets takes every reply for one, and nothing else
            told = message.role == "assistant" if "target" in kept else False
            for name, lost in (
                ("in-context role", part.icl_role is not None),
                ("asset id", part.asset_id is not None),
                ("target mark", part.target != told),
            ):
                if lost:
                    loss.lost[name] += 1
    if sample.holdout:
        loss.lost["holdout"] += 1
    for name in ("task", "licence", "seed", "meta", "sample id", "split"):
        if name not in kept:
            loss.lost[name] += 1


def media_parts(sample: Sample, *types: str) -> list[Part]:
    return [part for part in sample.parts() if part.type in types]


def beyond_pictures(sample: Sample, in_replies: bool) -> str | None:
    """Why a format of text and pictures cannot hold a sample; pictures in replies only where `in_replies`."""
    for kind in ("audio", "video"):
        if media_parts(sample, kind):
            return f"holds {kind}"
    replies = [message for message in sample.messages if message.role == "assistant"]
    if not in_replies and any(part.type == "image" for message in replies for part in message.content):
        return "a picture in a reply"
    return None
