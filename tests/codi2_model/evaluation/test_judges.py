"""Judges: loading from packages, plausible rankings."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

import codi2_datasets.pretrained.package_weights as weights
from codi2_model.evaluation.judges import AudioJudge, ImageJudge

RATE = 16_000


def drawn(shape: str, colour: str) -> Image.Image:
    image = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(image)
    if shape == "circle":
        pen.ellipse((10, 10, 54, 54), fill=colour)
    elif shape == "grid":
        for n in range(4, 64, 10):
            pen.line((n, 0, n, 64), fill=colour, width=3)
            pen.line((0, n, 64, n), fill=colour, width=3)
    else:
        pen.polygon(((32, 6), (58, 56), (6, 56)), outline=colour, width=4)
    return image


def test_a_blurred_small_picture_stays_nearest_its_own_shape() -> None:
    shapes = ["circle", "grid", "triangle"]
    judge = ImageJudge()
    clear = judge.embed([drawn(shape, "navy") for shape in shapes])
    worn = judge.embed([drawn(shape, "navy").filter(ImageFilter.GaussianBlur(1)).resize((32, 32)) for shape in shapes])
    assert clear.shape == (3, 1280) and np.allclose(np.linalg.norm(clear, axis=1), 1, atol=1e-5)
    assert (worn @ clear.T).argmax(1).tolist() == [0, 1, 2]


def test_transparency_is_white_and_modes_do_not_matter() -> None:
    shape = drawn("circle", "black")
    clear = Image.new("RGBA", shape.size, (0, 0, 0, 0))
    clear.paste(shape, mask=shape.convert("L").point(lambda value: 255 - value))
    rows = ImageJudge().embed([shape, clear, shape.convert("L"), shape.convert("P")])
    assert (rows @ rows[0]).min() > 0.99


def test_batches_change_nothing_and_no_media_give_no_rows() -> None:
    pictures = [drawn(shape, colour) for shape in ("circle", "grid") for colour in ("red", "green", "black")]
    assert np.allclose(ImageJudge(batch_size=2).embed(pictures), ImageJudge(batch_size=6).embed(pictures), atol=1e-4)
    assert ImageJudge().embed([]).shape == (0, 1280) and AudioJudge().embed([]).shape == (0, 512)


def noise(seed: int, seconds: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(int(RATE * seconds)).astype(np.float32) * 0.1


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE)).astype(np.float32)


def clicks(seconds: float = 1.0) -> np.ndarray:
    wave = np.zeros(int(RATE * seconds), np.float32)
    wave[:: RATE // 8] = 0.9
    return wave


def test_sounds_of_a_kind_are_nearest_each_other() -> None:
    waves = [noise(0), noise(1, 1.5), tone(300), tone(320, 1.5), clicks(), clicks(1.5)]
    rows = AudioJudge().embed(waves)
    similar = rows @ rows.T
    np.fill_diagonal(similar, -1)
    assert similar.argmax(1).tolist() == [1, 0, 3, 2, 5, 4]


@pytest.mark.parametrize("length", [0, 1, 500, 16_000, 100_000])
def test_a_sound_of_any_length_has_an_embedding(length: int) -> None:
    row = AudioJudge().embed([np.linspace(-0.5, 0.5, length, dtype=np.float32)])
    assert row.shape == (1, 512) and np.isfinite(row).all()


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(weights.PackageMissing, match=r"needs the package aisfx: pip install aisfx==\S+ --no-deps$"):
        weights.package_file("aisfx", "models/checkpoint.pth")
