"""Samples of WebDataset tars, one at a time: members that follow one another under one key."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from codi2_datasets.connectors.reading.files import DAMAGE, damage, opened
from codi2_datasets.connectors.reading.values import Bad

LARGEST = 512 * 2**20  # bytes of a member
ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")
PATTERNS = tuple(f"*{ending}" for ending in ENDINGS)
TAR_DAMAGE = (*DAMAGE, tarfile.TarError, MemoryError, AttributeError, TypeError, IndexError)  # of headers that lie


@dataclass
class Sample:
    """The members under one key, by what stands behind its first dot: {'jpg': b'..', 'json': b'..'}."""

    key: str
    members: dict[str, bytes] = field(default_factory=dict)

    def json(self) -> dict | Bad:
        """Its JSON object; empty where it has none."""
        if "json" not in self.members:
            return {}
        try:
            found = json.loads(self.members["json"])
        except UnicodeDecodeError:
            return Bad("broken UTF-8 in its JSON")
        except (ValueError, RecursionError):
            return Bad("its JSON is damaged")
        return found if isinstance(found, dict) else Bad("its JSON is no object")


def members(file: str) -> Iterator[tuple[str, bytes | None] | Bad]:
    """(name, content) of each file in a tar; None for one that is too large; Bad where the tar is damaged."""
    try:
        with opened(file) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if not member.isfile():
                    continue
                if member.size > LARGEST:
                    yield member.name, None
                    continue
                content: IO[bytes] | None = archive.extractfile(member)
                data = content.read() if content else b""
                if len(data) != member.size:
                    yield Bad("damaged tar: it breaks off")
                    return
                yield member.name, data
    except TAR_DAMAGE as error:
        yield Bad(f"damaged tar: {damage(error)}")


def names(file: str) -> Iterator[str]:
    """The members' names alone, as far as the tar can be read."""
    try:
        with opened(file) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            yield from (member.name for member in archive if member.isfile())
    except TAR_DAMAGE as error:
        damage(error)


def split_key(name: str) -> tuple[str, str]:
    """'a/b.c.jpg' -> ('a/b', 'c.jpg'): a key ends at the first dot behind the last slash."""
    folder, _, base = name.removeprefix("./").rpartition("/")
    key, _, ending = base.partition(".")
    return f"{folder}/{key}" if folder else key, ending.lower()


def samples(file: str) -> Iterator[Sample | tuple[str, Bad]]:
    """Samples in order; (key, Bad) for what is none: members too large, apart from the others, or twice."""
    sample, closed = Sample(""), set()
    for found in members(file):
        if isinstance(found, Bad):
            if sample.members:
                yield sample  # the last one that was read whole
            yield "", found
            return
        name, data = found
        key, ending = split_key(name)
        if key != sample.key:
            if sample.members:
                yield sample
            closed.add(sample.key)
            sample = Sample(key)
        if key in closed:
            yield name, Bad("members of one sample lie apart")
        elif data is None:
            yield name, Bad(f"more than {LARGEST:,} bytes")
        elif ending in sample.members:
            yield name, Bad("two members of one name")
        else:
            sample.members[ending] = data
    if sample.members:
        yield sample
