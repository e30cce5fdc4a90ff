"""Baselines: answers that need no model.

- chance: a random candidate (for text: the reply of a random train sample).
- copy_input: the last medium of the prompt with the modality of the target, unchanged.
- nearest_train: the target of the train sample of the same task with the nearest prompt text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

from codi2_model.evaluation.text_scores import words

CHANCE, COPY_INPUT, NEAREST_TRAIN = "chance", "copy_input", "nearest_train"


def copy_input(prompt: Sequence[Mapping[str, Any]], modality: str) -> Any | None:
    """The value of the prompt's last part of a modality (usually the query), or None."""
    if modality == "text":
        return None
    media = [part["value"] for message in prompt for part in message["content"] if part["type"] == modality]
    return media[-1] if media else None


def prompt_similarity(queries: Sequence[str], train: Sequence[str]) -> NDArray[np.float64]:
    """Cosine similarity (queries, train) of TF-IDF vectors of lower-case words.

    The weight of a word is count x (1 + ln(N / df)), with N and df from the train texts; other words are ignored.
    Raises ValueError without train texts.
    """
    if not train:
        raise ValueError("no train texts to search in")
    vocabulary = {word: i for i, word in enumerate(sorted({word for text in train for word in words(text)}))}
    counts = _counts(train, vocabulary)
    frequency = np.bincount(counts.indices, minlength=len(vocabulary))
    weight = diags(1.0 + np.log(len(train) / np.maximum(frequency, 1)))
    train_vectors = _unit_rows(counts @ weight)
    query_vectors = _unit_rows(_counts(queries, vocabulary) @ weight)
    return np.asarray((query_vectors @ train_vectors.T).toarray())


def _counts(texts: Sequence[str], vocabulary: Mapping[str, int]) -> csr_matrix:
    """Word counts (texts, words)."""
    rows, columns, values = [], [], []
    for row, text in enumerate(texts):
        for word, count in sorted(Counter(words(text)).items()):
            if word in vocabulary:
                rows.append(row)
                columns.append(vocabulary[word])
                values.append(float(count))
    return csr_matrix((values, (rows, columns)), shape=(len(texts), len(vocabulary)))


def _unit_rows(matrix: csr_matrix) -> csr_matrix:
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(1)).ravel())
    return csr_matrix(diags(1.0 / np.maximum(length, 1e-12)) @ matrix)
