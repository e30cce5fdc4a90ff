"""Corpora of words and of rendered instruments, read from the real packages."""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from codi2_datasets.corpora import RejectedRow, SourceRow, corpora
from codi2_datasets.media.audio import decode_audio
from codi2_datasets.sources.fetch import SourceUnavailable, fetch


@cache
def rows_of(name: str) -> list[SourceRow | RejectedRow]:
    corpus = corpora()[name]
    try:
        return list(corpus.rows(fetch(corpus.source).path, {}))
    except SourceUnavailable as error:
        pytest.skip(str(error))


def kept(name: str) -> list[SourceRow]:
    return [row for row in rows_of(name) if isinstance(row, SourceRow)]


@pytest.mark.parametrize("name", ["wordnet", "wiki-summaries", "general-midi"])
def test_every_thing_of_a_package_is_a_row_or_a_reject_with_a_reason(name: str) -> None:
    rows = rows_of(name)
    locators = [row.locator for row in rows]
    assert len(set(locators)) == len(locators)
    assert all(row.reason for row in rows if isinstance(row, RejectedRow))
    assert str(len(kept(name))) in corpora()[name].size.replace(",", "")


def test_definitions_do_not_use_their_word_and_know_what_is_above_it() -> None:
    words = {row.locator: (*json.loads(str(row.payload)), row.attributes) for row in kept("wordnet")}
    giraffe = next(told for told in words.values() if told[0] == "giraffe")
    assert "neck" in giraffe[1] and giraffe[2]["lexname"] == "noun.animal" and giraffe[2]["hypernym"] == "ruminant"
    assert all(len(re.findall("[a-z]+", told[1].lower())) >= 3 for told in words.values())
    proud = next(told for told in words.values() if told[0] == "proud" and "antonym" in told[2])
    assert proud[2]["antonym"] == "humble"


def test_senses_of_one_word_share_a_family() -> None:
    banks = [row.attributes for row in kept("wordnet") if row.attributes["concept"] == "bank"]
    assert len(banks) > 2 and {told["family"] for told in banks} == {"bank"}


def test_summaries_end_where_a_sentence_ends() -> None:
    for row in kept("wiki-summaries"):
        title, summary = json.loads(str(row.payload))
        assert title and summary.rstrip("\"')]”’")[-1] in ".!?"
        assert row.licence == "CC-BY-SA-4.0" and row.author == "Wikipedia contributors"


def heard(locator: str) -> np.ndarray:
    return decode_audio(bytes(next(row.payload for row in kept("general-midi") if row.locator.endswith(locator))))  # type: ignore[arg-type]


def loudest_pitch(samples: np.ndarray) -> float:
    """Hz of the strongest partial."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 65_536))
    return float(np.fft.rfftfreq(65_536, 1 / 16_000)[spectrum.argmax()])


def test_a_rising_scale_rises_by_the_steps_of_major() -> None:
    flute = heard("#73-rising-scale")
    notes = [loudest_pitch(flute[n * 4_000 + 800 : (n + 1) * 4_000]) for n in range(8)]
    steps = [12 * np.log2(b / a) for a, b in pairwise(notes)]
    assert np.allclose(steps, [2, 2, 1, 2, 2, 2, 1], atol=0.3)


def test_instruments_are_as_loud_and_as_long_as_each_other() -> None:
    for row in kept("general-midi")[::23]:
        samples = decode_audio(bytes(row.payload))  # type: ignore[arg-type]
        assert len(samples) == 40_000 and 0.02 < np.sqrt(np.mean(samples**2)) < 0.11 and np.abs(samples).max() < 0.81


def test_rendering_twice_gives_the_same_bytes() -> None:
    corpus = corpora()["general-midi"]
    try:
        package = fetch(corpus.source).path
    except SourceUnavailable as error:
        pytest.skip(str(error))
    again = corpus.rows(package, {})
    first = kept("general-midi")
    assert [next(again).payload for _ in range(12)] == [row.payload for row in first[:12]]  # type: ignore[union-attr]
