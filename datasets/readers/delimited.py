"""Reads rows of CSV and TSV tolerantly: an unclosed quote affects only its own row.

A quoted field may contain delimiters, line breaks and doubled quotes (RFC 4180), or backslash-escaped quotes. A quote
is an opening one if it starts a field and a closing one follows that ends the field; any other quote is text. So `the
5" screen` and `"Best pizza in town` are complete fields. If the closing quote is in a later line, the lines are one
row, unless each of them is a complete row by itself: as many fields as columns, and URLs, names and numbers in the same
columns as in the first line.

In TSV, quotes are text, unless a field cannot be written without them (it contains a tab, a line break or a doubled
quote), or the header is quoted too.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from codi2_datasets.readers.base import ConnectorError
from codi2_datasets.readers.files import DAMAGE, damage
from codi2_datasets.readers.lines import lines_of
from codi2_datasets.readers.values import Bad, Numbered, broken

SPAN = 2**20  # characters of a quoted field that spans several lines
SHAPES = {
    "": re.compile(r""),
    "url": re.compile(r"[a-z][a-z0-9+.-]*://\S.*", re.I),
    "number": re.compile(r"[-+]?\d+(\.\d+)?"),
    "file": re.compile(r"\S+\.\w{2,4}"),
    "id": re.compile(r"(?=\S*\d)\S+"),
}
TELLING = set(SHAPES) - {""}


def delimited_rows(
    file: str,
    delimiter: str = ",",
    header: Sequence[str] | None = None,
    comment: str = "",
    quoted: bool = True,
    spaced: bool = False,
    extra: bool = False,
    otherwise: str = "",
) -> Numbered:
    """Rows as {column: string}, numbered from 0; empty lines are skipped.

    `header` names the columns of files without a header; lines that start with `comment` are skipped. `quoted`: whether
    fields may be quoted. `spaced`: whether blanks after a delimiter belong to it; detected from the header if the file
    has one. A row with broken UTF-8, or with too few or too many fields, is `Bad` by itself. With `extra`, surplus
    fields are dropped. Lines that are not UTF-8 are decoded with the encoding `otherwise`, if given.
    """
    number = 0
    try:
        for row in Table(file, delimiter, header, comment, quoted, spaced, otherwise).rows(extra):
            yield number, row
            number += 1
    except DAMAGE as error:
        yield number, Bad(f"damaged file: {damage(error)}")


def header_of(file: str, delimiter: str = ",") -> list[str]:
    """The column names from the first line. Raises ConnectorError if the file cannot be read."""
    try:
        table = Table(file, delimiter)
        next(table.rows(), None)
    except DAMAGE as error:
        raise ConnectorError(f"{file}: cannot be read: {damage(error)}") from error
    return table.names or []


class Table:
    """One file, read line by line."""

    def __init__(
        self,
        file: str,
        delimiter: str,
        header: Sequence[str] | None = None,
        comment: str = "",
        quoted: bool = True,
        spaced: bool = False,
        otherwise: str = "",
    ) -> None:
        self.lines = Lines(file, otherwise)
        self.delimiter, self.comment, self.quoted = delimiter, comment, quoted
        self.names = list(header) if header else None
        self.set_spaced(spaced)
        self.unquote_all = delimiter != "\t"

    def set_spaced(self, spaced: bool) -> None:
        """Compile the patterns of a quoted field; blanks may follow the closing quote."""
        self.spaced = spaced
        end, blank = f" *(?={re.escape(self.delimiter)}|\\Z)", " *" if spaced else ""
        self.closed = re.compile(f'{blank}"([^"]*(?:""[^"]*)*)"{end}')
        self.escaped = re.compile(rf'{blank}"([^"\\]*(?:\\.[^"\\]*)*)"{end}', re.S)
        self.closing = re.compile(f'[^"]*(?:""[^"]*)*"{end}')

    def rows(self, extra: bool = False) -> Iterator[dict[str, Any] | Bad]:
        for line in self.lines:
            if isinstance(line, Bad):
                yield line
            elif not self.is_none(line):
                fields = self.record(line)
                if self.names is not None:
                    yield fields if isinstance(fields, Bad) else named(self.names, fields, extra)
                elif isinstance(fields, Bad):
                    raise ValueError(f"its first line is no header: {fields.reason}")
                else:
                    self.names = [name.strip() for name in fields]

    def is_none(self, line: str) -> bool:
        if not line or (line[0].isspace() and line.isspace() and self.delimiter not in line):
            return True
        return bool(self.comment) and line.startswith(self.comment)

    def learn(self, header: str) -> None:
        """Detect from the header how the file writes its fields."""
        _, *others = header.split(self.delimiter)
        if others and all(name.startswith(" ") for name in others):
            self.set_spaced(True)
        if self.quoted:
            quoted = [self.closed.match(name) for name in header.split(self.delimiter)]
            self.unquote_all = self.unquote_all or all(quoted)

    def record(self, line: str) -> list[str] | Bad:
        """The fields of the row that starts with this line; further lines of the row are consumed."""
        if "\r" in line and self.whole_rows(parts := [part for part in line.split("\r") if part.strip()]):
            self.lines.put_back(parts[1:])
            line = parts[0]
        if self.names is None:
            self.learn(line)
        if self.quoted and '"' in line:
            fields = list(self.fields(line, True))
            return Bad("broken UTF-8") if any(map(broken, fields)) else fields
        return Bad("broken UTF-8") if broken(line) else self.plain(line)

    def plain(self, line: str) -> list[str]:
        fields = line.split(self.delimiter)
        return [field.lstrip(" ") for field in fields] if self.spaced else fields

    def fields(self, text: str, further: bool) -> Iterator[str]:
        """The fields of a row. `further`: a quoted field may continue in the next lines."""
        at, column = 0, 0
        while True:
            opens = text[at : at + 1] == '"' or (self.spaced and text[at:].lstrip(" ").startswith('"'))
            quoted = self.in_quotes(text, at) if opens else None
            if opens and not quoted and further and (more := self.going_on(text, at, column)):
                text = text[:at] + more
                quoted = self.in_quotes(text, at)
            if quoted:
                value, end = quoted
                yield value
            else:
                end = text.find(self.delimiter, at)
                end = len(text) if end < 0 else end
                yield text[at:end].lstrip(" ") if self.spaced else text[at:end]
            if end >= len(text):
                return
            at, column = end + len(self.delimiter), column + 1

    def in_quotes(self, text: str, at: int) -> tuple[str, int] | None:
        """(value, end position) of the field whose opening quote is here; None if no quote closes it."""
        if match := self.closed.match(text, at):
            value = match[1]
            needed = '""' in value or "\n" in value or self.delimiter in value
            return value.replace('""', '"') if needed or self.unquote_all else match[0], match.end()
        if (match := self.escaped.match(text, at)) and '\\"' in match[1]:
            return match[1].replace('\\"', '"'), match.end()
        return None

    def going_on(self, line: str, at: int, column: int) -> str | None:
        """A quoted field with the further lines that it spans; None if no quote closes it, or if the lines are rows
        themselves.
        """
        taken, size = [line[at:]], 0
        for following in self.lines.ahead():
            if isinstance(following, Bad) or (size := size + len(following)) > SPAN:
                return None
            taken.append(following)
            if '"' not in following:
                continue
            if self.closing.match(following):
                break
            if '"' in following.replace('""', ""):
                return None
        else:
            return None
        if self.are_rows([line, *taken[1:]], column):
            return None
        self.lines.drop(len(taken) - 1)
        return "\n".join(taken)

    def are_rows(self, lines: Sequence[str], column: int) -> bool:
        """Whether the lines that a field of this column would span look like rows themselves."""
        if not self.whole_rows(lines):
            return False
        rows = [list(self.fields(line, False)) for line in lines]
        shapes = [set(map(shape, values)) for n, values in enumerate(zip(*rows, strict=True)) if n != column]
        return not any("url" in kinds and kinds - {"url", ""} for kinds in shapes) and any(
            len(kinds) == 1 and kinds & TELLING for kinds in shapes
        )

    def whole_rows(self, lines: Sequence[str]) -> bool:
        width = len(self.names or ())
        return len(lines) > 1 and width > 1 and all(len(list(self.fields(line, False))) == width for line in lines)


class Lines:
    """The lines of a file as strings, with lookahead. Bytes that are not UTF-8 become surrogates."""

    def __init__(self, file: str, otherwise: str = "") -> None:
        self.source = (line if isinstance(line, Bad) else self.decode(line, otherwise) for line in lines_of(file))
        self.waiting: deque[str | Bad] = deque()

    def __iter__(self) -> Iterator[str | Bad]:
        while True:
            while self.waiting:
                yield self.waiting.popleft()
            for line in self.source:
                yield line
                if self.waiting:
                    break
            else:
                return

    @staticmethod
    def decode(line: bytes, otherwise: str) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError:
            return line.decode(otherwise, "replace") if otherwise else line.decode("utf-8", "surrogateescape")

    def ahead(self) -> Iterator[str | Bad]:
        """The next lines, without consuming them."""
        yield from tuple(self.waiting)
        for line in self.source:
            self.waiting.append(line)
            yield line

    def drop(self, number: int) -> None:
        for _ in range(number):
            self.waiting.popleft()

    def put_back(self, lines: Sequence[str]) -> None:
        self.waiting.extendleft(reversed(lines))


def shape(field: str) -> str:
    """The kind of a field's content, as far as it distinguishes columns."""
    return next((name for name, pattern in SHAPES.items() if pattern.fullmatch(field.strip())), "text")


def named(names: Sequence[str], fields: Sequence[str], extra: bool) -> dict[str, Any] | Bad:
    if len(fields) < len(names):
        return Bad("too few fields")
    if len(fields) > len(names) and not extra and any(field.strip() for field in fields[len(names) :]):
        return Bad("too many fields")
    return dict(zip(names, fields, strict=False))
