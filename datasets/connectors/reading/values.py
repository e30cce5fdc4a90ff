"""Fields of published rows, which may be missing, null, of another type, or not what their column promises."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from codi2_datasets.connectors.base import UNKNOWN_LICENCE, ConnectorError
from codi2_storage.urls import UrlError, parse_url

WEB = f"{UNKNOWN_LICENCE}web"  # works found on the web whose owners license them themselves, or do not
NOT_TEXT = ("", "none", "nan", "null", "[deleted]")
CREATIVE_COMMONS = re.compile(r"creativecommons\.org/licenses/((?:by|nc|nd|sa)(?:-(?:nc|nd|sa))*)/(\d\.\d)", re.I)
DEDICATED = {"publicdomain/zero": "CC0-1.0", "publicdomain/mark": "CC-PDM-1.0"}


@dataclass(frozen=True)
class Bad:
    """A row, or the rest of a file, that cannot be used."""

    reason: str


def pick(row: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of these columns that is there and not null."""
    for name in names:
        value = row.get(name)
        if value is not None and not (isinstance(value, float) and math.isnan(value)):
            return value
    return None


def need(file: str, columns: Iterable[str], *wanted: tuple[str, ...]) -> None:
    """Raises ConnectorError unless of each group of names one is a column of the file."""
    known = list(columns)
    for names in wanted:
        if not set(names) & set(known):
            listed = ", ".join(known[:20]) or "none"
            raise ConnectorError(f"{file}: the column {' or '.join(map(repr, names))} is missing; it has: {listed}")


def text(value: Any) -> str:
    """Words on one line; '' for what is null, no text, broken, or says nothing."""
    if not isinstance(value, str):
        return ""
    try:
        value.encode()
    except UnicodeEncodeError:  # halves of characters, as JSON may escape them
        return ""
    plain = " ".join(value.replace("\x00", " ").split())
    return "" if plain.lower() in NOT_TEXT else plain


def lines(value: Any) -> str:
    """As `text`, with its line breaks."""
    if not text(value):
        return ""
    return "\n".join(line.rstrip() for line in value.replace("\x00", " ").strip().splitlines())


def number(value: Any, digits: int = 5) -> float | None:
    """A finite number, from text too; None for anything else."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return round(found, digits) if math.isfinite(found) else None


def known(**attributes: Any) -> dict[str, Any]:
    """Attributes without those that are None or empty."""
    return {name: value for name, value in attributes.items() if value not in (None, "", [], {})}


def licence_of(value: Any, otherwise: str = WEB) -> str:
    """SPDX id of the licence that an address or a name tells; `otherwise` where it tells none."""
    if not isinstance(value, str):
        return otherwise
    if found := CREATIVE_COMMONS.search(value):
        return f"CC-{found[1].upper()}-{found[2]}"
    for part, name in DEDICATED.items():
        if part in value.lower():
            return name
    return otherwise


def listed_url(value: Any) -> str:
    """A URL as it is written, blanks within it too, of whatever scheme; '' for what is no text or says nothing."""
    return value.strip() if text(value) else ""


def web_address(value: Any) -> str:
    """An http(s) URL as it is written; '' for anything else."""
    found = listed_url(value)
    try:
        parse_url(found)
    except UrlError:
        return ""
    return found
