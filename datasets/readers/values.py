"""Field access for published rows, whose values may be missing, null, or of an unexpected type."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from codi2_datasets.readers.base import UNKNOWN_LICENCE, ConnectorError
from codi2_storage.locations.urls import UrlError, parse_url

LOOKED_AT = 20  # rows of JSON examined for their fields
WEB = f"{UNKNOWN_LICENCE}web"  # works found on the web; only their owners can license them
BROKEN = re.compile("[\ud800-\udfff]")  # bytes that are not UTF-8, as Python escapes them, and lone surrogates
LINE_END = re.compile(r"\r\n?|\n")
CREATIVE_COMMONS = re.compile(r"creativecommons\.org/licenses/((?:by|nc|nd|sa)(?:-(?:nc|nd|sa))*)/(\d\.\d)", re.I)
DEDICATED = {"publicdomain/zero": "CC0-1.0", "publicdomain/mark": "CC-PDM-1.0"}


@dataclass(frozen=True)
class Bad:
    """A row, or the rest of a file, that cannot be used."""

    reason: str
    rows: int = 1
    """Number of rows that it stands for."""


@dataclass(frozen=True)
class Elsewhere:
    """A row that is covered by the result of another one."""


Numbered = Iterator[tuple[int, dict[str, Any] | Bad | Elsewhere]]
"""Rows of a file with their numbers, from 0."""


def pick(row: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of these columns that exists and is not null."""
    for name in names:
        value = row.get(name)
        if value is not None and not (isinstance(value, float) and math.isnan(value)):
            return value
    return None


def need(file: str, columns: Iterable[str], *wanted: tuple[str, ...]) -> None:
    """Raise ConnectorError unless the file has at least one column of each group of names."""
    known = list(columns)
    for names in wanted:
        if not set(names) & set(known):
            listed = ", ".join(known[:20]) or "none"
            raise ConnectorError(f"{file}: the column {' or '.join(map(repr, names))} is missing; it has: {listed}")


def need_fields(file: str, rows: Numbered, *wanted: tuple[str, ...]) -> None:
    """As `need`, for rows of JSON: a field may be in any of the first objects."""
    first = [row for _, row in islice(rows, LOOKED_AT) if isinstance(row, dict)]
    if first:
        need(file, dict.fromkeys(name for row in first for name in row), *wanted)


def string(value: Any) -> str:
    """A string unchanged, an integer as its digits: for names and ids; '' for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(int(value)) if value == value // 1 else ""
    return value if isinstance(value, str) and not broken(value) else ""


def broken(value: str) -> bool:
    """Whether a string contains bytes that are not UTF-8, or lone surrogates."""
    return not value.isascii() and BROKEN.search(value) is not None


def text(value: Any) -> str:
    """A string on one line; '' for null, other types, empty or broken strings.

    No word is treated as a missing value: missing values are null, in CSV an empty field.
    """
    if not isinstance(value, str) or broken(value):
        return ""
    return " ".join(value.replace("\x00", " ").split())


def lines(value: Any) -> str:
    """As `text`, with its line breaks."""
    if not text(value):
        return ""
    return "\n".join(line.rstrip() for line in LINE_END.split(value.replace("\x00", " ").strip()))


def number(value: Any, digits: int = 5) -> float | None:
    """A finite number, also from a string; None for anything else."""
    try:
        parsed = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return round(parsed, digits) if math.isfinite(parsed) else None


def whole(value: Any) -> int | None:
    """An integer, also from a string; None for anything else."""
    parsed = number(value)
    return int(parsed) if parsed is not None and parsed.is_integer() else None


def known(**attributes: Any) -> dict[str, Any]:
    """Attributes without those that are None or empty."""
    return {name: value for name, value in attributes.items() if value not in (None, "", [], {})}


def licence_of(value: Any, otherwise: str = WEB) -> str:
    """SPDX id of the licence in a URL or name; `otherwise` if there is none."""
    if not isinstance(value, str):
        return otherwise
    if match := CREATIVE_COMMONS.search(value):
        return f"CC-{match[1].upper()}-{match[2]}"
    for part, name in DEDICATED.items():
        if part in value.lower():
            return name
    return otherwise


def listed_url(value: Any) -> str:
    """A URL as written, of any scheme, including blanks within it; '' for other types and empty strings."""
    return value.strip() if text(value) else ""


def web_address(value: Any) -> str:
    """An http(s) URL as listed, including blanks within it; '' for anything else."""
    url = listed_url(value)
    try:
        parse_url(url)
    except UrlError:
        return ""
    return url
