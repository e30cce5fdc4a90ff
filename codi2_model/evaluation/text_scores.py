"""Text scores: token F1, exact match, and whether an answer contains the truth."""

from __future__ import annotations

import re
from collections import Counter

_WORD = re.compile(r"\w+", re.UNICODE)


def words(text: str) -> list[str]:
    """Lower-case words, without punctuation and spacing."""
    return _WORD.findall(text.lower())


def token_f1(answer: str, truth: str) -> float:
    """Harmonic mean of word precision and recall, as in SQuAD (Rajpurkar et al. 2016), but with articles.

    Two empty texts score 1.0; one empty text scores 0.0.
    """
    predicted, true = Counter(words(answer)), Counter(words(truth))
    if not predicted or not true:
        return float(predicted == true)
    common = sum((predicted & true).values())
    return 2 * common / (sum(predicted.values()) + sum(true.values()))


def exact_match(answer: str, truth: str) -> float:
    """1.0 if the words are equal and in the same order, else 0.0."""
    return float(words(answer) == words(truth))


def names(answer: str, truth: str) -> float:
    """1.0 if the answer contains the words of the truth in sequence, else 0.0; 0.0 for an empty truth."""
    true, predicted = words(truth), words(answer)
    return float(
        bool(true) and any(predicted[i : i + len(true)] == true for i in range(len(predicted) - len(true) + 1))
    )
