"""Names made of what they name: the same data has the same name, on any machine and on any day."""

from __future__ import annotations

import hashlib
import json


def canonical(value: object) -> str:
    """Plain data as JSON, the same for the same data."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def digest(value: object) -> str:
    """sha256 of plain data, as hex."""
    return sha256(canonical(value))


def sha256(payload: bytes | str) -> str:
    """sha256 of bytes, or of text as UTF-8, as hex."""
    return hashlib.sha256(payload.encode() if isinstance(payload, str) else payload).hexdigest()
