"""Scores of a written answer against the true one."""

from __future__ import annotations

import re
from collections import Counter

_WORD = re.compile(r"\w+", re.UNICODE)


def words(text: str) -> list[str]:
    """Lower-case words; punctuation and spacing do not count."""
    return _WORD.findall(text.lower())


def token_f1(answer: str, truth: str) -> float:
    """Harmonic mean of word precision and recall, as SQuAD scores answers (Rajpurkar et al. 2016), articles kept.

    Two empty texts agree (1.0); one empty text has nothing in common with the other (0.0).
    """
    got, want = Counter(words(answer)), Counter(words(truth))
    if not got or not want:
        return float(got == want)
    common = sum((got & want).values())
    return 2 * common / (sum(got.values()) + sum(want.values()))


def exact_match(answer: str, truth: str) -> float:
    """1.0 where the words are the same in the same order, else 0.0."""
    return float(words(answer) == words(truth))


def names(answer: str, truth: str) -> float:
    """1.0 where the truth's words occur in the answer, one after the other, else 0.0; an empty truth is never named."""
    want, got = words(truth), words(answer)
    return float(bool(want) and any(got[i : i + len(want)] == want for i in range(len(got) - len(want) + 1)))
