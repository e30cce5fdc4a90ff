"""Lines of a text file as UTF-8 bytes, whatever its encoding, compression and line ends.

A line ends at a line feed (with or without a carriage return before it) or, in files without any line feed, at a
carriage return. Other characters, such as U+2028 and U+0085, do not end a line.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from codi2_datasets.readers.files import DAMAGE, opened
from codi2_datasets.readers.values import Bad

LONGEST = 16 * 2**20  # bytes of a line; more counts as damage
BUFFER = 256 * 1024  # bytes read at once, and examined to detect the layout of a file
BOMS = (  # UTF-32 first: its little-endian mark starts with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


@contextmanager
def opened_text(path: str) -> Iterator[io.BufferedReader]:
    """The file decompressed, as UTF-8 without a byte order mark. Undecodable content is unchanged."""
    with opened(path) as stream:
        head = stream.read(4)
        encoding = next((name for bom, name in BOMS if head.startswith(bom)), None)
        source = Joined(head.removeprefix(codecs.BOM_UTF8), stream)
        yield io.BufferedReader(Transcoded(source, encoding) if encoding else source, BUFFER)


def lines_of(path: str) -> Iterator[bytes | Bad]:
    """The lines of a file without their ends; a line that is too long is `Bad` by itself."""
    with opened_text(path) as stream:
        yield from split_lines(stream)


def decoded(data: bytes) -> str:
    """A string in the encoding of its byte order mark, else UTF-8. Raises UnicodeDecodeError."""
    encoding = next((name for bom, name in BOMS if data.startswith(bom)), "utf-8-sig")
    return data.decode(encoding)


def split_lines(stream: io.BufferedReader) -> Iterator[bytes | Bad]:
    if ends_at_returns(stream.peek(BUFFER)):
        stream = io.BufferedReader(Translated(stream), BUFFER)
    longest = LONGEST
    while line := stream.readline(longest):
        if len(line) == longest and not line.endswith(b"\n"):
            while (more := stream.readline(longest)) and not more.endswith(b"\n"):
                pass
            yield Bad(f"a line of more than {longest:,} bytes")
        else:
            yield line.rstrip(b"\r\n")


def ends_at_returns(head: bytes) -> bool:
    """Whether the beginning of a file shows that its lines end in carriage returns only."""
    return b"\r" in head and b"\n" not in head


class Joined(io.RawIOBase):
    """Bytes already read, followed by their stream. A truncated stream returns all its data before the error is raised."""

    def __init__(self, head: bytes, stream: Any) -> None:
        self.head, self.stream = head, stream
        self.read_some = getattr(stream, "read1", stream.read)
        self.error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.error is not None:
            raise self.error
        data, self.head = self.head[: len(buffer)], self.head[len(buffer) :]
        try:
            while len(data) < len(buffer) and (more := self.read_some(len(buffer) - len(data))):
                data += more
        except DAMAGE as error:
            if not data:
                raise
            self.error = error
        buffer[: len(data)] = data
        return len(data)


class Transcoded(io.RawIOBase):
    """A stream of UTF-16 or UTF-32 as UTF-8. Lone surrogates stay invalid."""

    def __init__(self, source: io.RawIOBase, encoding: str) -> None:
        self.text = io.TextIOWrapper(io.BufferedReader(source), encoding, "surrogatepass", newline="")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.text.read(len(buffer) // 4).encode("utf-8", "surrogatepass")
        buffer[: len(data)] = data
        return len(data)


class Translated(io.RawIOBase):
    """A stream with carriage returns replaced by line feeds."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)
