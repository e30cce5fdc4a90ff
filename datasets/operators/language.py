"""Language of a text, by py3langid (a naive Bayes classifier over byte n-grams, Lui and Baldwin 2012)."""

from __future__ import annotations

from functools import cache
from typing import Any

from codi2_datasets.media.text import plain
from codi2_datasets.operators import Operator
from codi2_datasets.pretrained.packages import require

ENOUGH = 1000  # characters that are classified


def measure(text: str) -> dict[str, float | str]:
    """`language`: ISO 639-1 code; `language_confidence`: from 0 to 1. Texts of a few words are often misclassified."""
    language, confidence = identifier().classify(plain(text)[:ENOUGH])
    return {"language": str(language), "language_confidence": round(float(confidence), 4)}


@cache
def identifier() -> Any:
    require("this", ["py3langid"])
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


OPERATOR = Operator("language", "1", "text", measure, packages=("py3langid",))
