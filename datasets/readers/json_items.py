"""Streams the items of a large JSON file: gigabytes whose outermost value is one list or one object.

The outer value is never in memory, only the current item. An invalid item is `Bad` by itself; if its end cannot be
determined, so is the rest of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BufferedReader
from itertools import islice
from typing import Any

from codi2_datasets.readers.files import DAMAGE, damage
from codi2_datasets.readers.lines import opened_text
from codi2_datasets.readers.values import Bad, broken

CHUNK = 2**20  # bytes read at once
LARGEST = 256 * 2**20  # characters of one item; more counts as damage
LARGE = 16 * 2**20  # size of a broken item at which the next one is searched for before everything is read
TRIES = 1_000  # positions at which the next item is searched for after a broken one
DECODER = json.JSONDecoder()
SPACE = re.compile(r"[\s,]*")
MARKS = re.compile(r'["{}\[\]]')
SCALAR = re.compile(r'[^\s,:"\[\]{}]+')
STRING_END = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"', re.S)
FOLLOWED = re.compile(r"\s*(?:,\s*[^\s,\]}]|[\]}]|\Z)")  # what may follow an item
FIRST_KEY = re.compile(r'\{\s*("[^"\\]*")\s*:')


def json_items(file: str, *keys: str, skip: bool = False, only: Sequence[str] = ()) -> Iterator[tuple[str | int, Any]]:
    """(index or key, value) of every item of the list or object under `keys`, in order.

    With `skip` the values are None, for callers that need only keys; with `only`, items with other keys are skipped.
    Yields nothing if the keys lead nowhere. Damage is yielded as (-1, Bad).
    """
    try:
        with opened_text(file) as stream:
            reader = JsonScanner(stream)
            yield from reader.items(keys, skip, only)
            if not keys and reader.peek():
                yield -1, Bad("more text behind the end of its JSON")
    except DAMAGE as error:
        yield -1, Bad(f"damaged file: {damage(error)}")


class End(ValueError):
    """The text ended, or exceeded the size limit, before the value did."""


class JsonScanner:
    """A sliding window over the file's text."""

    def __init__(self, stream: BufferedReader) -> None:
        self.stream, self.text, self.at, self.done, self.rest = stream, "", 0, False, b""
        self.first_key: str | None = None  # of the last object that was read

    def more(self) -> bool:
        """Add text to the window; False at the end of the file."""
        if self.done:
            return False
        if len(self.text) - self.at > LARGEST:
            raise End(f"an item of more than {LARGEST:,} characters")
        # doubling keeps the number of scans of a large item small
        data = self.stream.read1(max(CHUNK, len(self.text) - self.at))
        self.done = not data
        data = self.rest + data
        # a character that is cut at the end of the chunk waits for the next chunk
        begun = next((n for n in (1, 2, 3) if data[-n:][:1] >= b"\xc0"), 0) if not self.done else 0
        whole = len(data) - begun
        self.rest = data[whole:]
        self.text = self.text[self.at :] + data[:whole].decode("utf-8", "surrogateescape")
        self.at = 0
        return True

    def peek(self) -> str:
        """The next character other than blanks and commas; '' at the end."""
        while True:
            blanks = SPACE.match(self.text, self.at)
            assert blanks is not None
            self.at = blanks.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def items(self, keys: tuple[str, ...], skip: bool, only: Sequence[str]) -> Iterator[tuple[str | int, Any]]:
        if self.peek() == "\ufeff":
            self.at += 1
        opening = self.peek()
        if opening not in ("[", "{"):
            yield -1, Bad("no JSON list or object")
            return
        self.at += 1
        number, closing = 0, "]" if opening == "[" else "}"
        while (char := self.peek()) not in (closing, ""):
            if char in "]}":  # of an earlier broken item
                self.at += 1
                continue
            name: str | int = number
            if opening == "{":
                key = self.value()
                if not isinstance(key, str) or self.peek() != ":":
                    yield -1, Bad("damaged file: no key where one should be")
                    return
                self.at += 1
                name = key
            if keys and name == keys[0]:
                if self.peek() in ("[", "{"):
                    yield from self.items(keys[1:], skip, only)
                return  # what follows is not needed
            if keys or (only and name not in only):
                self.skip()
            elif skip:
                self.skip()
                yield name, None
            else:
                yield name, self.value(opening)
            number += 1
        if not char:
            yield -1, Bad("damaged file: it breaks off")
        self.at += 1

    def sequence(self) -> Iterator[Any]:
        """Consecutive values; for a list, its items."""
        while char := self.peek():
            if char == "[":
                yield from (value for _, value in self.items((), False, ()))
            else:
                yield self.value()

    def value(self, opening: str = "[") -> Any:
        """The value that starts here, or Bad for invalid JSON; `opening` is the bracket of its container."""
        if self.peek() not in ("[", "{", '"'):
            return self.scalar()
        while True:
            try:
                parsed, end = DECODER.raw_decode(self.text, self.at)
            except (ValueError, RecursionError):
                if self.is_broken(opening) or not self.more():
                    self.recover(opening)
                    return Bad("no JSON")
                continue
            raw, self.at = self.text[self.at : end], end
            if isinstance(parsed, dict) and parsed:
                self.first_key = json.dumps(next(iter(parsed)), ensure_ascii=False)
            return Bad("broken UTF-8") if broken(raw) else parsed

    def scalar(self) -> Any:
        """A number, true, false or null; Bad for anything else."""
        try:
            return json.loads(self.word())
        except ValueError:
            return Bad("no JSON")

    def word(self) -> str:
        """Skip anything that is neither a container nor a string: a word, or a stray mark."""
        while (match := SCALAR.match(self.text, self.at)) and match.end() == len(self.text) and self.more():
            pass
        begun, self.at = self.at, match.end() if match else min(self.at + 1, len(self.text))
        return self.text[begun : self.at]

    def is_broken(self, opening: str) -> bool:
        """Whether a value that cannot be parsed ends within the window; otherwise it may continue."""
        if typed_end(self.text, self.at) or end_of(self.text, self.at):
            return True
        return len(self.text) - self.at > LARGE and self.next_alike(opening, len(self.text)) is not None

    def recover(self, opening: str) -> None:
        """Skip a broken value: up to where its brackets close, or before that to an item that starts like it or the
        last good one.

        `opening` is the bracket of the container: in an object an item starts with its key.
        """
        ends = (typed_end(self.text, self.at), end_of(self.text, self.at))
        end = next((end for end in ends if end and FOLLOWED.match(self.text, end)), ends[1] or len(self.text))
        alike = self.next_alike(opening, end)
        self.at = end if alike is None else alike

    def next_alike(self, opening: str, end: int) -> int | None:
        first = FIRST_KEY.match(self.text, self.at)
        keys = {re.escape(key) for key in (first and first[1], self.first_key) if key}
        if not keys:
            return None
        alike = rf"\{{\s*(?:{'|'.join(sorted(keys))})\s*:"
        item = re.compile(rf'"(?:[^"\\]|\\.)*"\s*:\s*(?={alike})' if opening == "{" else f"(?={alike})")
        for match in islice(item.finditer(self.text, self.at + 1, end), TRIES):
            with suppress(ValueError, RecursionError):
                DECODER.raw_decode(self.text, match.end())
                return match.start()
        return None

    def skip(self) -> None:
        """Skip a value without parsing it."""
        if self.peek() not in ("[", "{", '"'):
            self.word()
            return
        depth = 0
        while True:  # a container is skipped in steps, so that it need not fit into memory
            if (char := self.peek()) == "":
                return
            if char == '"':
                self.past_string()
            elif char in "[{":
                depth, self.at = depth + 1, self.at + 1
            elif char in "]}":
                depth, self.at = depth - 1, self.at + 1
            else:
                mark = MARKS.search(self.text, self.at)
                self.at = mark.start() if mark else len(self.text)
            if depth <= 0:
                return

    def past_string(self) -> None:
        while not (match := STRING_END.match(self.text, self.at + 1)):
            if not self.more():
                self.at = len(self.text)
                return
        self.at = match.end()


def end_of(text: str, at: int) -> int | None:
    """Where the brackets opened from `at` on are closed in equal number; None if that is beyond the text."""
    depth = 0
    for mark, end in marks(text, at):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark, 0)
        if depth <= 0:
            return end
    return None


def typed_end(text: str, at: int) -> int | None:
    """The same, where a bracket closes all those opened within its own."""
    opened: list[str] = []
    for mark, end in marks(text, at):
        if mark in "[{":
            opened.append("]" if mark == "[" else "}")
        elif mark in opened:
            while opened.pop() != mark:
                pass
        if not opened:
            return end
    return None


def marks(text: str, at: int) -> Iterator[tuple[str, int]]:
    """Brackets and strings with their end positions, up to an unterminated string."""
    while mark := MARKS.search(text, at):
        at = mark.end()
        if mark[0] == '"':
            closed = STRING_END.match(text, at)
            if not closed:
                return
            at = closed.end()
        yield mark[0], at
