"""JSON on standard output, in place of a table or a text, for every command with `--json`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from typing import Annotated, Any

from cyclopts import Parameter

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of text.")]


def print_json(value: Any) -> None:
    """Print a value as one JSON document. An iterator of rows becomes an array, whose rows are printed as they arrive."""
    if not isinstance(value, Iterator):
        print(encoded(value, indent=1))
        return
    sys.stdout.write("[")
    for number, row in enumerate(value):
        sys.stdout.write(f"{', ' if number else ''}{encoded(row)}")
    sys.stdout.write("]\n")


def encoded(value: Any, indent: int | None = None) -> str:
    """A value as JSON. Dates and the like become strings, and non-ASCII characters stay if the output is Unicode."""
    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    try:
        return json.dumps(value, default=str, ensure_ascii=ascii_only, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(finite(value), default=str, ensure_ascii=ascii_only, indent=indent)


def finite(value: Any) -> Any:
    """The value with null for numbers that JSON has not: infinite ones and NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value
