"""The items of a large JSON file, one at a time: files of gigabytes whose outermost value is one list or one object.

The outer value is never held, only the item that is being read. An item that is no JSON is `Bad` by itself; where its end
cannot be found, the rest of the file is.
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
LARGEST = 256 * 2**20  # characters of one item: more is damage
LARGE = 16 * 2**20  # characters of a broken item from which on the next is looked for, before all is read
TRIES = 1_000  # places at which the next item is looked for after a broken one
DECODER = json.JSONDecoder()
SPACE = re.compile(r"[\s,]*")
MARKS = re.compile(r'["{}\[\]]')
SCALAR = re.compile(r'[^\s,:"\[\]{}]+')
STRING_END = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"', re.S)
FOLLOWED = re.compile(r"\s*(?:,\s*[^\s,\]}]|[\]}]|\Z)")  # what may stand behind an item
FIRST_KEY = re.compile(r'\{\s*("[^"\\]*")\s*:')


def json_items(file: str, *keys: str, skip: bool = False, only: Sequence[str] = ()) -> Iterator[tuple[str | int, Any]]:
    """(index or key, value) of every item of the list or object that lies under `keys`, in order.

    With `skip` the values are None: for those who want keys alone; `only` names the keys whose values are wanted, and
    leaves out all others. Nothing where the keys lead nowhere. What is damaged comes as (-1, Bad).
    """
    try:
        with opened_text(file) as stream:
            reader = Reader(stream)
            yield from reader.items(keys, skip, only)
            if not keys and reader.peek():
                yield -1, Bad("more text behind the end of its JSON")
    except DAMAGE as error:
        yield -1, Bad(f"damaged file: {damage(error)}")


class End(ValueError):
    """The text ended, or went on for too long, before the value did."""


class Reader:
    """A window of the file's text that moves on."""

    def __init__(self, stream: BufferedReader) -> None:
        self.stream, self.text, self.at, self.done, self.rest = stream, "", 0, False, b""
        self.first_key: str | None = None  # of the last object that was read

    def more(self) -> bool:
        """Add text to the window; False at the end of the file."""
        if self.done:
            return False
        if len(self.text) - self.at > LARGEST:
            raise End(f"an item of more than {LARGEST:,} characters")
        # as much again as is held, so that a large item is looked at few times
        data = self.stream.read1(max(CHUNK, len(self.text) - self.at))
        self.done = not data
        data = self.rest + data
        # a character that is cut at the end of the chunk waits for the next
        begun = next((n for n in (1, 2, 3) if data[-n:][:1] >= b"\xc0"), 0) if not self.done else 0
        whole = len(data) - begun
        self.rest = data[whole:]
        self.text = self.text[self.at :] + data[:whole].decode("utf-8", "surrogateescape")
        self.at = 0
        return True

    def peek(self) -> str:
        """The next character that is no blank and no comma; '' at the end."""
        while True:
            found = SPACE.match(self.text, self.at)
            assert found is not None
            self.at = found.end()
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
            if char in "]}":  # of a broken item before
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
                return  # what comes behind is not asked for
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
        """Values that follow one another; of a list its items."""
        while char := self.peek():
            if char == "[":
                yield from (value for _, value in self.items((), False, ()))
            else:
                yield self.value()

    def value(self, opening: str = "[") -> Any:
        """The value that begins here, or Bad for one that is no JSON; `opening` is the bracket of what holds it."""
        if self.peek() not in ("[", "{", '"'):
            return self.scalar()
        while True:
            try:
                found, end = DECODER.raw_decode(self.text, self.at)
            except (ValueError, RecursionError):
                if self.is_broken(opening) or not self.more():
                    self.recover(opening)
                    return Bad("no JSON")
                continue
            raw, self.at = self.text[self.at : end], end
            if isinstance(found, dict) and found:
                self.first_key = json.dumps(next(iter(found)), ensure_ascii=False)
            return Bad("broken UTF-8") if broken(raw) else found

    def scalar(self) -> Any:
        """A number, true, false or null; Bad for anything else."""
        try:
            return json.loads(self.word())
        except ValueError:
            return Bad("no JSON")

    def word(self) -> str:
        """Pass over what is neither a container nor a string: a word, or a mark that stands alone."""
        while (found := SCALAR.match(self.text, self.at)) and found.end() == len(self.text) and self.more():
            pass
        begun, self.at = self.at, found.end() if found else min(self.at + 1, len(self.text))
        return self.text[begun : self.at]

    def is_broken(self, opening: str) -> bool:
        """Whether a value that cannot be read ends within the window: else it may go on."""
        if typed_end(self.text, self.at) or end_of(self.text, self.at):
            return True
        return len(self.text) - self.at > LARGE and self.next_alike(opening, len(self.text)) is not None

    def recover(self, opening: str) -> None:
        """Pass over a broken value: to where its brackets close, or before that to an item that begins as it or the last
        good one does. `opening` is the bracket of what holds it: in an object an item begins with its key."""
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
        for found in islice(item.finditer(self.text, self.at + 1, end), TRIES):
            with suppress(ValueError, RecursionError):
                DECODER.raw_decode(self.text, found.end())
                return found.start()
        return None

    def skip(self) -> None:
        """Pass over a value without making anything of it."""
        if self.peek() not in ("[", "{", '"'):
            self.word()
            return
        depth = 0
        while True:  # a container is passed in steps, so that it need not fit into memory
            if (char := self.peek()) == "":
                return
            if char == '"':
                self.past_string()
            elif char in "[{":
                depth, self.at = depth + 1, self.at + 1
            elif char in "]}":
                depth, self.at = depth - 1, self.at + 1
            else:
                found = MARKS.search(self.text, self.at)
                self.at = found.start() if found else len(self.text)
            if depth <= 0:
                return

    def past_string(self) -> None:
        while not (found := STRING_END.match(self.text, self.at + 1)):
            if not self.more():
                self.at = len(self.text)
                return
        self.at = found.end()


def end_of(text: str, at: int) -> int | None:
    """Where as many brackets are closed as were opened from `at` on; None where that lies beyond the text."""
    depth = 0
    for mark, end in marks(text, at):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark, 0)
        if depth <= 0:
            return end
    return None


def typed_end(text: str, at: int) -> int | None:
    """The same where a bracket closes all that were opened within its own."""
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
    """Brackets and strings with where they end, up to a string that does not end."""
    while found := MARKS.search(text, at):
        at = found.end()
        if found[0] == '"':
            closed = STRING_END.match(text, at)
            if not closed:
                return
            at = closed.end()
        yield found[0], at
