"""Content hashes: the same data gives the same hash on any machine at any time."""

from __future__ import annotations

import hashlib
import json


def canonical(value: object) -> str:
    """Plain data as canonical JSON: sorted keys, the same string for the same data."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def digest(value: object) -> str:
    """sha256 of plain data, as hex."""
    return sha256(canonical(value))


def sha256(payload: bytes | str) -> str:
    """sha256 of bytes, or of a string as UTF-8, as hex."""
    return hashlib.sha256(payload.encode() if isinstance(payload, str) else payload).hexdigest()
