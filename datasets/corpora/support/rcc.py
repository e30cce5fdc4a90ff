"""Reader of Qt resource files (.rcc): a tree of names, followed by the files' data.

After the header (magic 'qres', version, three offsets) the tree has nodes of 14 bytes, 22 from version 2 on: offset of
the name, flags (1 zlib, 2 folder, 4 Zstandard), then for a folder the number of its children and the first of them, for
a file four bytes of locale and the offset of its data. Names are a length, a hash and UTF-16; data a length and bytes.
Source: qtbase/src/corelib/io/qresource.cpp.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

COMPRESSED, FOLDER, ZSTANDARD = 1, 2, 4


class RccError(ValueError):
    """Not a Qt resource file, or one in an unsupported encoding."""


def files(content: bytes) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of every file, sorted by path."""
    if content[:4] != b"qres":
        raise RccError("not a Qt resource file")
    version, tree, data, names = struct.unpack_from(">IIII", content, 4)
    step = 14 if version == 1 else 22

    def name(offset: int) -> str:
        (length,) = struct.unpack_from(">H", content, names + offset)
        return content[names + offset + 6 : names + offset + 6 + 2 * length].decode("utf-16-be")

    def walk(node: int, folder: str) -> Iterator[tuple[str, bytes]]:
        place = tree + node * step
        offset, flags = struct.unpack_from(">IH", content, place)
        path = f"{folder}/{name(offset)}" if node else ""
        if flags & FOLDER:
            count, first = struct.unpack_from(">II", content, place + 6)
            for child in range(first, first + count):
                yield from walk(child, path)
            return
        (start,) = struct.unpack_from(">I", content, place + 10)
        (size,) = struct.unpack_from(">I", content, data + start)
        stored = content[data + start + 4 : data + start + 4 + size]
        if flags & ZSTANDARD:
            raise RccError(f"{path}: packed with Zstandard, which is not read here")
        yield path.lstrip("/"), zlib.decompress(stored[4:]) if flags & COMPRESSED else stored

    yield from sorted(walk(0, ""))
