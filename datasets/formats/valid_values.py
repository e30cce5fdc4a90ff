"""Sanitises values for the catalog: strings become valid UTF-8, attributes valid JSON (RFC 8259).

JSON that Python reads may hold NaN and Infinity, which are not JSON, and lone surrogates ("\\ud83d"), which are not
UTF-8; file names in tars may hold any bytes. Such numbers become null; surrogates and other bytes become escapes.
"""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 100  # levels of nesting


def plain_string(value: str) -> str:
    """The string with everything that is not UTF-8 escaped: '\\ud83d' becomes backslash, u, d, 8, 3, d."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def plain_json(value: Any, levels: int = DEEPEST) -> Any:
    """Plain data that JSON can hold: NaN, Infinity and data nested too deep become null, other types their string."""
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
    """Whether a value is valid JSON and UTF-8 as it is."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError):
        return False
    return True
