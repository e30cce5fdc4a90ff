"""Pads the first samples of every shard with placeholder members, for readers that infer columns from them.

Hugging Face's `datasets` reads the first five samples of the first tar, requires the same members in each, and ignores
any other members after that: samples with one and with four examples are an error, and what only a later sample holds
would be lost. So the first five samples hold every member of the shard's task. Missing ones are placeholders that the
sample's JSON does not name: an image of one pixel, audio of one value, a video of one frame. A sample's own parts are
those that its JSON names.
"""

from __future__ import annotations

import tarfile
from base64 import b64decode
from collections.abc import Iterable, Mapping

from codi2_datasets.formats.sample import EXTENSIONS, Sample
from codi2_datasets.formats.tar import add_member

FIRST = 5  # samples that `datasets` reads: NUM_EXAMPLES_FOR_FEATURES_INFERENCE
MODALITIES = {extension: modality for modality, extension in EXTENSIONS.items()}
# stored encoded, because other versions of an encoder would give other bytes
PLACEHOLDERS = {
    "image": b64decode("UklGRh4AAABXRUJQVlA4TBEAAAAvAAAAAAfQ//73v/+BiOh/AAA="),
    "audio": b64decode(
        "ZkxhQwAAACIQABAAAAAMAAAMA+gA8AAAAAHEED8SLSdnfJ2xRMrhOUpmhAAAKCAAAAByZWZlcmVuY2UgbGliRkxBQyAxLjQuMyAy"
        "MDIzMDYyMwAAAAD/+GUIAAD1AgAAQAk="
    ),
    "video": b64decode(
        "AAAAIGZ0eXBpc29tAAACAGlzb21pc28yYXZjMW1wNDEAAAAIZnJlZQAAABttZGF0AAAAD2WIhAA7//73sY+BTcgAFQAAAuNtb292"
        "AAAAbG12aGQAAAAAAAAAAAAAAAAAAAPoAAAAfQABAAABAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAA"
        "AEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACAAACMnRyYWsAAABcdGtoZAAAAAMAAAAAAAAAAAAAAAEAAAAAAAAAfQAA"
        "AAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAEAAAAAAEAAAABAAAAAAACRlZHRzAAAAHGVsc3QA"
        "AAAAAAAAAQAAAH0AAAAAAAEAAAAAAaptZGlhAAAAIG1kaGQAAAAAAAAAAAAAAAAAAEAAAAAIAFXEAAAAAAAtaGRscgAAAAAAAAAA"
        "dmlkZQAAAAAAAAAAAAAAAFZpZGVvSGFuZGxlcgAAAAFVbWluZgAAABR2bWhkAAAAAQAAAAAAAAAAAAAAJGRpbmYAAAAcZHJlZgAA"
        "AAAAAAABAAAADHVybCAAAAABAAABFXN0YmwAAACxc3RzZAAAAAAAAAABAAAAoWF2YzEAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAA"
        "EAAQAEgAAABIAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAY//8AAAA3YXZjQwFkAAr/4QAaZ2QACqzZ"
        "XpqBAQMgAAADACAAAAMCAeJEssABAAZo6+CMsiz9+PgAAAAAFGJ0cnQAAAAAAAAEwAAAAAAAAAAYc3R0cwAAAAAAAAABAAAAAQAA"
        "CAAAAAAcc3RzYwAAAAAAAAABAAAAAQAAAAEAAAABAAAAFHN0c3oAAAAAAAAAEwAAAAEAAAAUc3RjbwAAAAAAAAABAAAAMAAAAD11"
        "ZHRhAAAANW1ldGEAAAAAAAAAIWhkbHIAAAAAAAAAAG1kaXJhcHBsAAAAAAAAAAAAAAAACGlsc3Q="
    ),
}


def members_of(samples: Iterable[Sample]) -> dict[str, str]:
    """All members of the samples' parts, with their modality."""
    return {part.part: part.type for sample in samples for part in sample.parts() if part.part is not None}


def pad(archive: tarfile.TarFile, number: int, sample: Sample, members: Mapping[str, str]) -> None:
    """Add placeholders to sample `number` of a shard, whose own members were just added, for each member that it lacks."""
    if number >= FIRST:
        return
    own = members_of([sample])
    for name in sorted(set(members) - set(own)):
        add_member(archive, f"{sample.sample_id}.{name}", PLACEHOLDERS[members[name]])


def add_sample(
    archive: tarfile.TarFile, number: int, sample: Sample, media: Mapping[str, bytes], members: Mapping[str, str]
) -> None:
    """Add sample `number` to a shard: its JSON, its media, and placeholders for the shard's members that it lacks."""
    add_member(archive, f"{sample.sample_id}.json", sample.to_json().encode())
    for name in members_of([sample]):
        add_member(archive, f"{sample.sample_id}.{name}", media[name])
    pad(archive, number, sample, members)
