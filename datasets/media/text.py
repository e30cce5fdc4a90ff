"""Texts: from the payload of a text asset to plain text, words and runs of words."""

from __future__ import annotations

import json
import re

# Japanese and Chinese put no spaces between words: each of their characters counts as one
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def plain(payload: str) -> str:
    """The text itself: a JSON list of strings (a dialogue, say) becomes one line each, all else stays as it is."""
    if payload.lstrip().startswith("["):
        try:
            lines = json.loads(payload)
        except json.JSONDecodeError:
            return payload
        if all(isinstance(line, str) for line in lines):
            return "\n".join(lines)
    return payload


def words(text: str) -> list[str]:
    """Letters and digits that stand together, without case."""
    return _WORD.findall(text.casefold())


def runs(text: str, length: int) -> list[str]:
    """Every `length` words in a row, in order and with repeats; of a shorter text all its words, of none nothing."""
    found = words(text)
    if not found:
        return []
    return [" ".join(found[start : start + length]) for start in range(max(1, len(found) - length + 1))]
