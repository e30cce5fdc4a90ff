"""Decontamination: what is near an evaluation set is found, by each method."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from codi2_datasets.dedup import decontaminate, perceptual
from codi2_datasets.dedup.decontaminate import THRESHOLDS, Items, Match, Thresholds
from tests.datasets.steps.test_deduplicate import seeds, signatures, some

# --- decontamination ---------------------------------------------------------------------------------------------

LONG = "the quick brown fox jumps over the lazy dog while seven wizards brew a potion of stars"


def test_each_method_finds_what_it_is_for() -> None:
    texts = [LONG + " and more words follow", "Something else.", json.dumps([LONG, "answer"]), LONG.upper() + "!"]
    evaluation = [LONG, "Something else", "nothing of the kind is here"]
    found = decontaminate.matches(
        Items(["a", "b", "c", "d"], signatures=signatures(texts), texts=texts),
        Items(["x", "y", "b"], signatures=signatures(evaluation), texts=evaluation),
        THRESHOLDS["text"],
    )
    assert found == sorted(found)
    by = {(match.asset, match.item, match.method): match.score for match in found}
    assert by[(1, 2, "exact")] == 1.0  # the same id, whatever the text says
    assert by[(1, 1, "minhash")] == by[(3, 0, "minhash")] == by[(3, 0, "ngram")] == 1.0
    assert by[(0, 0, "ngram")] == by[(2, 0, "ngram")] == 1.0
    assert {match.item for match in found if match.asset == 0} == {0}


def test_a_text_that_shares_less_than_thirteen_words_is_no_match() -> None:
    twelve = " ".join(LONG.split()[:12])
    other = Items(["x"], texts=[LONG])
    assert not decontaminate.matches(Items(["a"], texts=[twelve + " is all"]), other, THRESHOLDS["text"])
    assert not decontaminate.matches(Items(["a"], texts=[twelve]), Items(["x"], texts=[twelve]), THRESHOLDS["text"])


@pytest.mark.parametrize("modality", THRESHOLDS)
def test_nothing_matches_an_empty_set(modality: str) -> None:
    signals = {"hashes": np.zeros(0, np.uint64), "thumbs": np.zeros((0, 3), np.float32)}
    more = {"embeddings": np.zeros((0, 4), np.float32), "signatures": np.zeros((0, 64), np.uint32), "texts": []}
    nothing = Items([], **signals, **more)
    something = Items(["a"], np.zeros(1, np.uint64), np.zeros((1, 3), np.float32), np.ones((1, 4), np.float32))
    assert decontaminate.matches(nothing, nothing, THRESHOLDS[modality]) == []
    assert decontaminate.matches(something, nothing, THRESHOLDS[modality]) == []
    assert decontaminate.matches(nothing, something, THRESHOLDS[modality]) == []


@some
@given(seeds, st.integers(1, 12))
def test_looks_and_embeddings_of_a_leak_are_found(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 2**64, count, dtype=np.uint64)
    thumbs = random.random((count, 192), dtype=np.float32)
    embeddings = random.standard_normal((count, 32)).astype(np.float32)
    leaked = int(random.integers(count))
    item = Items(["x"], hashes[[leaked]] ^ np.uint64(5), thumbs[[leaked]], embeddings[[leaked]] * 3)
    assets = Items([str(i) for i in range(count)], hashes, thumbs, embeddings)
    found = decontaminate.matches(assets, item, Thresholds())
    assert Match(leaked, 0, "perceptual", 1 - 2 / 64) in found and Match(leaked, 0, "embedding", 1.0) in found
    assert {match.asset for match in found} == {leaked}


@some
@given(npst.arrays(np.uint8, (32, 32), elements=st.integers(0, 15)))
def test_a_detail_is_like_itself(greys: np.ndarray) -> None:
    packed = (greys.ravel()[::2] << 4 | greys.ravel()[1::2]).tobytes().hex()
    assert perceptual.same_detail(np.array([[0, 1]]), [packed, packed], 0.999).tolist() == [[0, 1]]
