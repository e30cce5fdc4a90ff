"""Values as the catalog keeps them: strings that are UTF-8, attributes that are JSON of RFC 8259 for every reader of SQL.

JSON as Python reads it may hold NaN and Infinity, which are no JSON, and halves of characters ("\\ud83d"), which are no UTF-8; names of
files in tars may hold any bytes. Numbers that are none become null; of halves of characters and other bytes the escapes are written out.
"""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 100  # levels of nesting


def plain_string(value: str) -> str:
    """The string with what is no UTF-8 written out: '\\ud83d' as backslash, u, d, 8, 3, d."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def plain_json(value: Any, levels: int = DEEPEST) -> Any:
    """Plain data as JSON can hold it: NaN, Infinity and what is nested too deep as null, what is no JSON as its string."""
    if isinstance(value, dict | list | tuple) and not levels:
        return None
    if isinstance(value, dict):
        return {plain_string(str(key)): plain_json(item, levels - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item, levels - 1) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return plain_string(value)
    return value if value is None or isinstance(value, int) else plain_string(str(value))


def is_plain(value: Any) -> bool:
    """Whether a value is JSON and UTF-8 as it stands."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError):
        return False
    return True
