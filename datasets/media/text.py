"""Converts text assets to plain text, words and word n-grams."""

from __future__ import annotations

import json
import re

# Japanese and Chinese put no spaces between words: each of their characters counts as one
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def plain(payload: str) -> str:
    """The plain text: a JSON list of strings (such as a dialogue) becomes one line each, anything else is unchanged."""
    if payload.lstrip().startswith("["):
        try:
            lines = json.loads(payload)
        except json.JSONDecodeError:
            return payload
        if all(isinstance(line, str) for line in lines):
            return "\n".join(lines)
    return payload


def words(text: str) -> list[str]:
    """Runs of letters and digits, case-folded."""
    return _WORD.findall(text.casefold())


def runs(text: str, length: int) -> list[str]:
    """All runs of `length` consecutive words, in order and with repeats.

    A shorter text is one run; an empty one has none.
    """
    tokens = words(text)
    if not tokens:
        return []
    return [" ".join(tokens[start : start + length]) for start in range(max(1, len(tokens) - length + 1))]
