"""Near-duplicates: what is found is what comparing every pair finds, and on real drawings it is what a person would say."""

from __future__ import annotations

import io
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from codi2_datasets.corpora import SourceRow, corpora
from codi2_datasets.dedup import groups, minhash, perceptual, semantic
from codi2_datasets.dedup.decontaminate import Items
from codi2_datasets.media.audio import decode_audio, normalise_audio
from codi2_datasets.media.image import decode_image, normalise_image
from codi2_datasets.media.text import runs, words
from codi2_datasets.operators import operators
from codi2_datasets.sources.fetch import SourceUnavailable, fetch

some = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)


def rows_of(name: str) -> list[SourceRow]:
    corpus = corpora()[name]
    try:
        companions = {source: fetch(source).path for source in corpus.companions}
        rows = list(corpus.rows(fetch(corpus.source).path, companions))
    except SourceUnavailable as error:
        pytest.skip(str(error))
    return [row for row in rows if isinstance(row, SourceRow)]


def measured(name: str, media: list) -> list[dict]:
    return [dict(operators()[name].measure(medium)) for medium in media]


def flipped(seed: int, count: int) -> np.ndarray:
    """Hashes of which many are a few bits apart, and some the same."""
    random = np.random.default_rng(seed)
    base = random.integers(0, 2**64, 4, dtype=np.uint64)
    hashes = random.choice(base, count)
    for _ in range(4):
        hashes = hashes ^ np.where(random.random(count) < 0.6, 1, 0).astype(np.uint64) << random.integers(
            0, 64, count
        ).astype(np.uint64)
    return hashes


# --- perceptual --------------------------------------------------------------------------------------------------


@some
@given(seeds, st.integers(0, 60), st.integers(0, 7), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_perceptual_pairs_are_those_of_comparing_all(seed: int, count: int, bits: int, colour: float) -> None:
    random = np.random.default_rng(seed)
    hashes = flipped(seed, count)
    thumbs = random.integers(0, 3, (count, 5)).astype(np.float32) / 4
    expected = [
        (i, j)
        for i, j in combinations(range(count), 2)
        if int(hashes[i] ^ hashes[j]).bit_count() <= bits and np.abs(thumbs[i] - thumbs[j]).max() <= colour
    ]
    ids = [str(i) for i in range(count)]
    found = perceptual.near_duplicates(ids, hashes, thumbs, bits, colour)
    assert [tuple(pair) for pair in found.tolist()] == expected


@some
@given(seeds, st.integers(0, 40), st.integers(0, 20))
def test_perceptual_matches_of_two_lists_are_those_of_comparing_all(seed: int, count: int, others: int) -> None:
    hashes = flipped(seed, count + others)
    thumbs = np.random.default_rng(seed).integers(0, 3, (count + others, 5)).astype(np.float32) / 40
    limits = perceptual.Limits(5, 0.03)
    found = perceptual.matches(hashes[:count], thumbs[:count], hashes[count:], thumbs[count:], limits)
    expected = [
        [i, j]
        for i in range(count)
        for j in range(others)
        if int(hashes[i] ^ hashes[count + j]).bit_count() <= 5 and np.abs(thumbs[i] - thumbs[count + j]).max() <= 0.03
    ]
    assert found.tolist() == expected


def test_what_does_not_fit_together_is_refused() -> None:
    hashes, thumbs = np.zeros(2, np.uint64), np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="1 ids, 2 hashes"):
        perceptual.near_duplicates(["a"], hashes, thumbs)
    with pytest.raises(ValueError, match="max_bits is 8"):
        perceptual.near_duplicates(["a", "b"], hashes, thumbs, max_bits=8)
    with pytest.raises(ValueError, match="2 ids, but 3 texts"):
        Items(["a", "b"], texts=["x", "y", "z"])
    with pytest.raises(ValueError, match="min_jaccard"):
        minhash.near_duplicates(np.zeros((2, 64), np.uint32), 0.0)


def test_a_thousand_blank_pictures_are_one_group() -> None:
    count = 1000
    pairs = perceptual.near_duplicates([""] * count, np.zeros(count, np.uint64), np.ones((count, 192), np.float32))
    assert len(pairs) == count * (count - 1) // 2
    assert not groups(count, pairs).any()


@some
@given(st.integers(0, 30), st.data())
def test_a_group_is_named_by_its_first_item_and_holds_all_that_hang_together(count: int, data: st.DataObject) -> None:
    item = st.integers(0, max(0, count - 1))
    drawn = data.draw(st.lists(st.tuples(item, item), max_size=20)) if count else []
    pairs = np.array([sorted(pair) for pair in drawn], dtype=np.int64).reshape(-1, 2)
    expected = list(range(count))
    for _ in range(count):
        for i, j in pairs.tolist():
            expected[i] = expected[j] = min(expected[i], expected[j])
    assert groups(count, pairs).tolist() == expected


@pytest.fixture(scope="module")
def drawings() -> tuple[list[SourceRow], list[dict]]:
    rows = rows_of("emoji-fluent-flat")[:1200]
    return rows, measured("phash", [np.asarray(decode_image(normalise_image(r.payload, r.media_type))) for r in rows])


def drawing_pairs(signals: list[dict]) -> np.ndarray:
    hashes = perceptual.hashes([signal["phash"] for signal in signals])
    thumbs = np.stack([signal["thumb"] for signal in signals])
    pairs = perceptual.near_duplicates([""] * len(signals), hashes, thumbs)
    return perceptual.same_detail(pairs, [signal["detail"] for signal in signals])


PEOPLE = set(
    [
        "man",
        "woman",
        "men",
        "women",
        "person",
        "people",
        "medium",
        "light",
        "dark",
        "skin",
        "tone",
        "hair",
        "blond",
        "red",
    ]
)


def test_drawings_called_the_same_show_the_same(drawings: tuple[list[SourceRow], list[dict]]) -> None:
    rows, signals = drawings
    names = [frozenset(words(row.caption)) - PEOPLE for row in rows]
    pairs = drawing_pairs(signals)
    apart = [(rows[i].caption, rows[j].caption) for i, j in pairs.tolist() if names[i] != names[j]]
    assert 0 < len(pairs) < 100 and len(apart) <= 0.05 * len(pairs), apart


def test_a_drawing_is_found_again_after_resizing_and_by_looser_limits_after_jpeg(
    drawings: tuple[list[SourceRow], list[dict]],
) -> None:
    rows, _ = drawings
    pictures = [decode_image(normalise_image(row.payload, row.media_type)) for row in rows[::20]]
    resized = [picture.resize((96, 96), Image.Resampling.LANCZOS).resize((64, 64)) for picture in pictures]
    lossy = []
    for picture in pictures:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90)
        lossy.append(Image.open(buffer).convert("RGB"))
    signals = measured("phash", [np.asarray(picture) for picture in pictures + resized])
    found = {tuple(pair) for pair in drawing_pairs(signals).tolist()}
    count = len(pictures)
    assert sum((i, i + count) in found for i in range(count)) >= 0.85 * count

    sides = [measured("phash", [np.asarray(picture) for picture in side]) for side in (lossy, pictures)]
    arrays = [(perceptual.hashes([s["phash"] for s in side]), np.stack([s["thumb"] for s in side])) for side in sides]
    pairs = perceptual.matches(*arrays[0], *arrays[1], perceptual.LOOSE)
    assert len({i for i, j in pairs.tolist() if i == j}) >= 0.85 * count


def test_a_mouth_that_turns_makes_another_drawing() -> None:
    def face(start: int, end: int, top: int) -> np.ndarray:
        large = Image.new("RGB", (512, 512), "white")
        pen = ImageDraw.Draw(large)
        pen.ellipse([20, 20, 492, 492], fill=(120, 80, 60))
        pen.arc([216, top, 296, top + 60], start, end, fill="black", width=12)
        return np.asarray(large.resize((64, 64), Image.Resampling.BOX))

    smile, frown = measured("phash", [face(0, 180, 320), face(180, 360, 350)])
    details = [smile["detail"], frown["detail"], smile["detail"]]
    assert perceptual.same_detail(np.array([[0, 1], [0, 2]]), details).tolist() == [[0, 2]]
    assert perceptual.same_detail(np.zeros((0, 2), np.int64), {}).shape == (0, 2)


def test_recordings_called_the_same_are_the_same_whatever_their_level() -> None:
    rows = rows_of("sonic-pi-samples")[:60]
    sounds = [decode_audio(normalise_audio(row.payload, max_seconds=3.0)[0]) for row in rows]
    quiet = [np.concatenate([np.zeros(2000, np.float32), sound * 0.5, np.zeros(3000, np.float32)]) for sound in sounds]
    signals = measured("fingerprint", sounds + quiet)
    hashes = perceptual.hashes([signal["fingerprint"] for signal in signals])
    thumbs = np.stack([signal["sound_thumb"] for signal in signals])
    pairs = perceptual.near_duplicates(
        [""] * len(signals), hashes, thumbs, perceptual.SOUND.bits, perceptual.SOUND.colour
    )
    found = {tuple(pair) for pair in pairs.tolist()}
    assert sum((i, i + len(sounds)) in found for i in range(len(sounds))) >= 0.95 * len(sounds)
    assert len({(i, j) for i, j in found if i % len(sounds) != j % len(sounds)}) <= 0.05 * len(found)


# --- texts -------------------------------------------------------------------------------------------------------


def signatures(texts: list[str]) -> np.ndarray:
    return minhash.signatures([signal["minhash"] for signal in measured("minhash", texts)])


@some
@given(seeds, st.integers(0, 40), st.sampled_from([0.3, 0.5, 0.75, 0.8, 0.95, 1.0]))
def test_minhash_pairs_are_those_of_comparing_all(seed: int, count: int, least: float) -> None:
    random = np.random.default_rng(seed)
    base = random.integers(0, 2**32, (3, 64), dtype=np.uint32)
    found = base[random.integers(0, 3, count)]
    change = random.random(found.shape) < random.random((count, 1)) * 0.6
    found = np.where(change, random.integers(0, 2**32, found.shape, dtype=np.uint32), found)
    expected = [[i, j] for i, j in combinations(range(count), 2) if (found[i] == found[j]).mean() >= least - 1e-9]
    assert minhash.near_duplicates(found, least).tolist() == expected
    half = count // 2
    pairs, scores = minhash.matches(found[:half], found[half:], least)
    assert pairs.tolist() == [[i, j - half] for i, j in expected if i < half <= j]
    assert scores.tolist() == [(found[i] == found[half + j]).mean() for i, j in pairs.tolist()]


@some
@given(st.integers(0, 300), st.integers(1, 300))
def test_minhash_estimates_the_share_of_common_shingles(shared: int, own: int) -> None:
    left = {f"shared {n}" for n in range(shared)} | {f"left {n}" for n in range(own)}
    right = {f"shared {n}" for n in range(shared)} | {f"right {n}" for n in range(own)}
    share = len(left & right) / len(left | right)
    estimate = (minhash.signature(sorted(left)) == minhash.signature(sorted(right))).mean()
    assert abs(estimate - share) < 0.25  # four standard errors


def test_a_signature_is_the_same_on_every_machine_and_comes_back_from_words() -> None:
    found = minhash.signature(["a b c", "b c d"])
    assert found[:3].tolist() == [3042134262, 1376538403, 2765635012]
    assert np.array_equal(minhash.signatures([minhash.as_words(found)] * 2), np.stack([found, found]))
    assert minhash.signatures([]).shape == (0, 64)


@given(st.text(max_size=200), st.integers(1, 5))
def test_runs_cover_the_words_of_any_text(text: str, length: int) -> None:
    found = runs(text, length)
    assert len(found) == (max(1, len(words(text)) - length + 1) if words(text) else 0)
    assert " ".join(found).split() or not words(text)


def test_chinese_and_japanese_are_cut_into_characters() -> None:
    assert words("我爱 Tokyo2020 タワー!") == ["我", "爱", "tokyo2020", "タ", "ワ", "ー"]


# --- embeddings --------------------------------------------------------------------------------------------------


@some
@given(seeds, st.integers(0, 70), st.integers(1, 8), st.sampled_from([0.0, 0.5, 0.9, 0.99]))
def test_semantic_pairs_are_those_of_comparing_all(seed: int, count: int, width: int, least: float) -> None:
    rows = np.random.default_rng(seed).standard_normal((count, width)).round(1)
    unit = semantic.unit(rows).astype(np.float64)
    cosine = np.round(unit @ unit.T, 6)
    expected = [[i, j] for i, j in combinations(range(count), 2) if cosine[i, j] >= least]
    assert semantic.near_duplicates(rows, least).tolist() == expected
    half = count // 2
    pairs, _ = semantic.matches(rows[:half], rows[half:], least)
    assert pairs.tolist() == [[i, j - half] for i, j in expected if i < half <= j]


@some
@given(seeds, st.integers(1, 1500), st.integers(1, 12))
def test_neighbours_are_the_closest_others(seed: int, count: int, k: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((count, 6)).astype(np.float32)
    indices, cosines = semantic.neighbours(rows, k)
    k = min(k, count - 1)
    assert indices.shape == cosines.shape == (count, k)
    unit = semantic.unit(rows).astype(np.float64)
    every = np.round(unit @ unit.T, 6)
    np.fill_diagonal(every, -np.inf)
    assert np.allclose(cosines, -np.sort(-every, axis=1)[:, :k], atol=1e-6)
    assert np.allclose(np.take_along_axis(every, indices, 1), cosines, atol=1e-6)
    assert all(len(set(row)) == k for row in indices.tolist())


def test_copies_are_neighbours_in_the_order_of_their_index() -> None:
    rows = np.array([[1.0, 0], [0, 1], [2, 0], [1, 0], [0, 0]])
    indices, cosines = semantic.neighbours(rows, 2)
    assert indices[:4].tolist() == [[2, 3], [0, 2], [0, 3], [0, 2]]
    assert cosines[4].tolist() == [0, 0]
    assert semantic.neighbours(rows[:1], 3)[0].shape == (1, 0)
