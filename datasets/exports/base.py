"""Interface of export formats: Format, the items that they write and read, and the count of what is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from codi2_datasets.formats.sample import Part, Sample
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.errors import UsageError
from codi2_storage.store import Store


class ExportError(UsageError):
    """A folder cannot be written or read in a format. The message names the format and the file."""


@dataclass(frozen=True)
class Item:
    """A sample and its media, by member name ('001.webp')."""

    sample: Sample
    media: dict[str, bytes]


@dataclass(frozen=True)
class Items:
    """Samples to write, iterable once, and all of their members with modality, known in advance."""

    items: Iterable[Item]
    members: Mapping[str, str]

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


@dataclass
class Loss:
    """What a format cannot represent. `lost` counts parts and fields of samples, `left_out` counts samples by reason."""

    written: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    rejects: list[dict[str, str]] = field(default_factory=list)
    """For an import: each row that is left out, with its location and the reason."""

    def to_dict(self) -> dict[str, Any]:
        return {"written": self.written, "lost": dict(sorted(self.lost.items())),
                "left_out": dict(sorted(self.left_out.items())), **({"rejects": self.rejects} if self.rejects else {})}  # fmt: skip

    def reject(self, place: str, reason: str) -> None:
        """Count and record a row that cannot be imported."""
        self.left_out[reason] += 1
        self.rejects.append({"row": place, "reason": reason})

    def keep(self, item: Item, reason: str | None) -> bool:
        """Count the item as written or, if there is a reason against it, as left out."""
        if reason is None:
            self.written += 1
        else:
            self.left_out[reason] += 1
        return reason is None


@dataclass(frozen=True)
class Reading:
    """Information about a folder from another tool that the folder does not contain."""

    task: str = "visual_question_answering"
    licence: str = "unknown"


@dataclass(frozen=True)
class Format:
    """One format. `write` takes each item once, in order; `read` yields them again, split by split.

    `files` is a regular expression for the names that `write` creates: no other file is ever removed.
    `source` gives the items of a build's catalog for a format that holds something other than the build's samples.
    """

    name: str
    description: str
    files: str
    write: Callable[[Iterable[Item], Store], Loss]
    read: Callable[[Store, Reading, Loss], Iterator[Item]]
    source: Callable[[Catalog, str], Iterator[Item]] | None = None


def roles_lost(sample: Sample, loss: Loss, *kept: str) -> None:
    """Count the fields of a sample that a format cannot represent, except those `kept`."""
    for message in sample.messages:
        for part in message.content:
            # formats that keep targets treat every reply as one, and nothing else
            is_target = message.role == "assistant" if "target" in kept else False
            for name, lost in (
                ("in-context role", part.icl_role is not None),
                ("asset id", part.asset_id is not None),
                ("target mark", part.target != is_target),
            ):
                if lost and name not in kept:
                    loss.lost[name] += 1
    if sample.holdout:
        loss.lost["holdout"] += 1
    for name in ("task", "licence", "seed", "meta", "sample id", "split"):
        if name not in kept:
            loss.lost[name] += 1


def media_parts(sample: Sample, *types: str) -> list[Part]:
    return [part for part in sample.parts() if part.type in types]


def beyond_pictures(sample: Sample, in_replies: bool) -> str | None:
    """Why a format of text and images cannot hold a sample. Images in replies are allowed only with `in_replies`."""
    for kind in ("audio", "video"):
        if media_parts(sample, kind):
            return f"holds {kind}"
    replies = [message for message in sample.messages if message.role == "assistant"]
    if not in_replies and any(part.type == "image" for message in replies for part in message.content):
        return "a picture in a reply"
    return None
