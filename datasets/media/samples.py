"""Reads samples from a shard, and decodes their media."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import IO, Any

from codi2_datasets.formats.sample import Sample
from codi2_datasets.media.audio import decode_audio
from codi2_datasets.media.image import decode_image
from codi2_datasets.media.video import decode_video

DECODE: dict[str, Callable[[bytes], Any]] = {"image": decode_image, "audio": decode_audio, "video": decode_video}
"""Modality -> bytes in a sample to RGB image, mono samples at 16 kHz, or frames. All raise MediaError."""


def members_by_sample(shard: IO[bytes], keys: Collection[str] | None = None) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(sample id, its members by the name after the first dot), in order. `keys`: skip other samples without reading."""
    current = ""
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=shard, mode="r:") as archive:
        for info in archive:
            key, _, name = info.name.partition(".")
            if keys is not None and key not in keys:
                continue
            if key != current and members:
                yield current, members
                members = {}
            if (content := archive.extractfile(info)) is not None:
                current, members[name] = key, content.read()
    if members:
        yield current, members


def conversation(sample: Sample, media: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The messages with the decoded medium of each part as its `value`. Raises KeyError for a missing medium."""
    messages: list[dict[str, Any]] = sample.to_dict()["messages"]
    for message in messages:
        for part in message["content"]:
            if part["type"] != "text":
                part["value"] = DECODE[part["type"]](media[part["part"]])
    return messages
