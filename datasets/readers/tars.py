"""Tars of media: their members by name, and their samples in WebDataset's sense.

All headers are read first, so that the members of a sample are found wherever they are, then the members one at a time.
A compressed or remote tar is unpacked into a temporary file for that. Links are resolved, concatenated tars are read as
one, and files that macOS and Windows add (`._name`, `.DS_Store`) are skipped.
"""

from __future__ import annotations

import posixpath
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, cast

from fsspec.implementations.local import LocalFileSystem

from codi2_datasets.readers.files import DAMAGE, damage, open_system, opened, unpacked
from codi2_datasets.readers.json_rows import json_object
from codi2_datasets.readers.lines import Joined, decoded
from codi2_datasets.readers.values import Bad
from codi2_storage.locations.paths import is_shadow

LARGEST = 512 * 2**20  # bytes of a member
BLOCK = tarfile.BLOCKSIZE
HOPS = 10  # of links
ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")
PATTERNS = tuple(f"*{ending}" for ending in ENDINGS)
TAR_DAMAGE = (
    *DAMAGE,
    tarfile.TarError,
    MemoryError,
    AttributeError,
    TypeError,
    IndexError,
)  # raised for invalid headers


def is_tar(file: str) -> bool:
    return file.lower().endswith(ENDINGS)


@dataclass
class Sample:
    """The members of one key, by the part after the first dot: {'jpg': b'..', 'json': b'..'}."""

    key: str
    members: dict[str, bytes] = field(default_factory=dict)

    def json(self) -> dict | Bad:
        """Its JSON object; empty if it has none."""
        if "json" not in self.members:
            return {}
        parsed = json_object(self.members["json"])
        return Bad(f"its .json: {parsed.reason}") if isinstance(parsed, Bad) else parsed

    def text(self) -> str | Bad:
        """Its text; '' if it has none."""
        try:
            return decoded(self.members.get("txt", b""))
        except UnicodeDecodeError:
            return Bad("its .txt: broken UTF-8")

    def parts(self) -> list[Sample]:
        """Split by members with dots in their names: 'v2.jpg' and 'v2.txt' belong together, and not to 'v3.jpg'.

        Members without a text of their own stay under the key.
        """
        stems = {ending.rpartition(".")[0] for ending in self.members if ending.endswith((".json", ".txt"))} - {""}
        if not stems:
            return [self]
        by_stem = {stem: Sample(f"{self.key}.{stem}" if stem else self.key) for stem in ("", *sorted(stems))}
        for ending, data in self.members.items():
            stem, _, last = ending.rpartition(".")
            by_stem[stem if stem in stems else ""].members[last if stem in stems else ending] = data
        return [sample for sample in by_stem.values() if sample.members]


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar. `target`: for a link, the name of its member."""

    name: str
    start: int
    size: int
    target: str = ""


class Tar:
    """The members of a tar, read from its headers. `bad`: unusable members by name, '' for a section of the tar."""

    def __init__(self, stream: IO[bytes], cut: str = "") -> None:
        self.stream = stream
        self.members: list[Member] = []
        self.bad: list[tuple[str, Bad]] = []
        self.size = stream.seek(0, 2)
        self.reached = 0  # where the next header is expected
        start: int | None = 0
        while start is not None:
            start = self.index(start)
        if cut:  # the compressed data end before the tar does
            self.bad = [bad for bad in self.bad if bad[0]] + [("", Bad(f"damaged tar: {cut}"))]
        self.by_name = {member.name: member for member in self.members}

    @property
    def held(self) -> int:
        """Number of files, including damaged ones."""
        return len(self.members) + len(self.bad)

    def index(self, start: int) -> int | None:
        """Read the headers from a position on.

        Returns the next position: a further tar, or a header after a damaged one.
        """
        self.reached = start
        try:
            self.stream.seek(start)
            with tarfile.open(fileobj=self.stream, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # else it keeps all of them
                    self.take(member)
                    self.reached = archive.offset
            return self.behind(self.reached)
        except TAR_DAMAGE as error:
            self.bad.append(("", Bad(f"damaged tar: {damage(error)}")))
            return self.next_header(self.reached + BLOCK)

    def next_header(self, at: int) -> int | None:
        self.stream.seek(at)
        while len(block := self.stream.read(BLOCK)) == BLOCK:
            if block[257:262] == b"ustar":
                with suppress(tarfile.HeaderError):
                    tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
                    return at
            at += BLOCK
        return None

    def behind(self, at: int) -> int | None:
        """The start of a further tar after the end of this one, if any. Raises ReadError if there is no end."""
        self.stream.seek(at)
        block = self.stream.read(BLOCK)
        if len(block) < BLOCK:
            raise tarfile.ReadError("it has no end, and may be cut off")
        if any(block):
            raise tarfile.ReadError(f"no header at byte {at:,}")
        while block := self.stream.read(2**16):
            if any(block):
                zeros = len(block) - len(block.lstrip(b"\0"))
                return self.stream.tell() - len(block) + zeros // BLOCK * BLOCK
        return None

    def take(self, member: tarfile.TarInfo) -> None:
        """Record a member. Raises ReadError if its bytes are incomplete."""
        name = posixpath.normpath(member.name).lstrip("/")
        if member.isdir() or is_shadow(name):
            return
        if member.islnk():
            self.members.append(Member(name, 0, 0, posixpath.normpath(member.linkname).lstrip("/")))
        elif member.issym():
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
            self.members.append(Member(name, 0, 0, target.lstrip("/")))
        elif not member.isfile() or member.issparse():
            self.bad.append((name, Bad("no ordinary file")))
        elif member.offset_data + member.size > self.size:
            raise tarfile.ReadError("unexpected end of data")
        else:
            self.members.append(Member(name, member.offset_data, member.size))

    def read(self, member: Member) -> bytes | Bad:
        """The bytes of a member, or Bad."""
        for _ in range(HOPS):
            if not member.target:
                break
            if member.target not in self.by_name:
                return Bad("a link to what is not in the tar")
            member = self.by_name[member.target]
        if member.target:
            return Bad("a link that leads to itself")
        if member.size > LARGEST:
            return Bad(f"more than {LARGEST:,} bytes")
        self.stream.seek(member.start)
        return self.stream.read(member.size)

    def samples(self) -> Iterator[Sample | tuple[str, Bad]]:
        """Samples in order of their first members; (name, Bad) for unusable members: too large, or duplicate."""
        keys: dict[str, list[tuple[str, Member]]] = {}
        for member in self.members:
            key, ending = split_key(member.name)
            keys.setdefault(key, []).append((ending, member))
        for key, members in keys.items():
            sample = Sample(key)
            for ending, member in members:
                data = Bad("two members of one name") if ending in sample.members else self.read(member)
                if isinstance(data, Bad):
                    yield member.name, data
                else:
                    sample.members[ending] = data
            if sample.members:
                yield sample
        yield from self.bad


@contextmanager
def opened_tar(file: str) -> Iterator[Tar]:
    """A tar with its headers read. A file that cannot be read at all is a tar with one `bad`."""
    with opened(file, seekable=True) as raw, tempfile.TemporaryFile() as copy:
        cut = ""
        try:
            source = unpacked(raw, file)
            if source is raw and isinstance(open_system(file)[0], LocalFileSystem):
                copy.close()
            else:
                shutil.copyfileobj(Joined(b"", source), copy, 2**20)
        except TAR_DAMAGE as error:
            cut = damage(error)
        yield Tar(raw if copy.closed else cast(IO[bytes], copy), cut)


def samples(file: str) -> Iterator[Sample | tuple[str, Bad]]:
    """The samples of a tar."""
    with opened_tar(file) as tar:
        yield from tar.samples()


def names(file: str) -> list[str]:
    """The members' names, as far as the tar can be read."""
    with opened_tar(file) as tar:
        return [member.name for member in tar.members]


def split_key(name: str) -> tuple[str, str]:
    """'a/b.c.jpg' -> ('a/b', 'c.jpg'): a key ends at the first dot after the last slash."""
    folder, _, base = name.removeprefix("./").rpartition("/")
    key, _, ending = base.partition(".")
    return f"{folder}/{key}" if folder else key, ending.lower()
