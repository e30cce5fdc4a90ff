"""Media: the same bytes for the same input, exact mixtures, and an error for what cannot be read."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from codi2_datasets.media import MediaError
from codi2_datasets.media.audio import FULL, decode_audio, encode_audio, mix, normalise_audio
from codi2_datasets.media.decoding.svg import MAX_SVG_DEPTH
from codi2_datasets.media.image import decode_image, encode_image, normalise_image

few = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])

SVG = "image/svg+xml"


def png(picture: Image.Image, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format)
    return buffer.getvalue()


def svg(body: str, width: int = 32, height: int = 32) -> bytes:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}"'
    return f'{head} height="{height}" viewBox="0 0 {width} {height}">{body}</svg>'.encode()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode_image(data))


# --- pictures ----------------------------------------------------------------------------------------------------


@few
@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))))
def test_a_picture_comes_back_exactly(image: np.ndarray) -> None:
    data = encode_image(image)
    assert np.array_equal(pixels(data), image)
    assert encode_image(Image.fromarray(image)) == data


@few
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([16, 33, 64]))
def test_aspect_is_kept_in_the_middle_of_a_white_square(width: int, height: int, size: int) -> None:
    square = pixels(normalise_image(png(Image.new("RGB", (width, height), (0, 0, 0))), "image/png", size))
    assert square.shape == (size, size, 3)
    inked = np.argwhere(square[..., 0] == 0)
    (top, left), (bottom, right) = inked.min(axis=0), inked.max(axis=0)
    assert max(bottom - top, right - left) + 1 == size
    scale = size / max(width, height)
    assert (bottom - top + 1, right - left + 1) == (max(1, round(height * scale)), max(1, round(width * scale)))
    assert abs(top - (size - 1 - bottom)) <= 1 and abs(left - (size - 1 - right)) <= 1
    assert len(inked) == (bottom - top + 1) * (right - left + 1)
    assert set(np.unique(square)) <= {0, 255}


@few
@given(st.integers(0, 255), st.tuples(*[st.integers(0, 255)] * 3))
def test_transparency_lies_over_white(alpha: int, colour: tuple[int, int, int]) -> None:
    picture = Image.new("RGBA", (64, 64), (*colour, alpha))
    expected = [round((c * alpha + 255 * (255 - alpha)) / 255) for c in colour]
    assert np.abs(pixels(normalise_image(png(picture), "image/png"))[32, 32].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_of_picture_is_read(mode: str) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.full((8, 8), 65535, np.uint16))
    else:
        picture = Image.new("RGB", (8, 8), "white").convert(mode)
    data = png(picture, "TIFF" if mode == "CMYK" else "PNG")
    assert (pixels(normalise_image(data, "image/png", 16)) == 255).all()


def test_svg_is_rendered_sharp_on_white_and_the_same_every_time() -> None:
    drawing = svg('<rect x="8" y="8" width="16" height="16" fill="#f00"/>')
    data = normalise_image(drawing, SVG, 64)
    image = pixels(data)
    assert (image[16:48, 16:48] == [255, 0, 0]).all() and (image[:16] == 255).all() and (image[48:] == 255).all()
    assert normalise_image(drawing, SVG, 64) == data


def test_wide_svg_is_centred() -> None:
    image = pixels(normalise_image(svg('<rect width="40" height="10" fill="black"/>', 40, 10), SVG, 64))
    assert (image[24:40] == 0).all() and (image[:24] == 255).all() and (image[40:] == 255).all()


def test_svg_measured_in_points_is_read() -> None:
    drawing = svg('<rect width="90" height="90"/>').replace(
        b'width="32" height="32" viewBox="0 0 32 32"', b'width="60pt" height="2cm"'
    )
    assert (pixels(normalise_image(drawing, SVG))[32] == 0).all()


def test_text_in_svg_is_drawn_with_a_font_of_our_own() -> None:
    image = pixels(normalise_image(svg('<text x="4" y="26" font-family="NoSuchFont" font-size="26">A</text>'), SVG))
    assert (image < 128).any()


@pytest.mark.parametrize(
    ("drawing", "reason"),
    [
        (b"", "SVG"),
        (b"<svg", "SVG"),
        (svg("", 0, 0), "invalid size"),
        (svg('<image href="/etc/hostname" width="9" height="9"/>'), "outside of itself"),
        (svg("<image width='9' xlink:href = 'http://example.org/a.png'/>"), "outside of itself"),
        (svg('<filter id="f"><feImage href="a.png"/></filter>'), "outside of itself"),
        (svg('<path d="M0 0L99999999999 1"/>'), "a billion"),
        (svg('<rect x=".1" y="-1e38" width="9"/>'), "a billion"),
        (svg("<g>" * 100_000 + "</g>" * 100_000), f"more than {MAX_SVG_DEPTH}"),
    ],
)
def test_bad_svg_is_an_error(drawing: bytes, reason: str) -> None:
    with pytest.raises(MediaError, match=reason):
        normalise_image(drawing, SVG)


def test_long_fractions_and_names_are_no_far_coordinates() -> None:
    drawing = svg('<g id="g12345678901" data-x="99999999999"><path d="M.5.12345678901 3L9e-10 9"/></g>')
    assert pixels(normalise_image(drawing, SVG)).shape == (64, 64, 3)


def test_enormous_svg_is_drawn_no_larger_than_asked() -> None:
    assert pixels(normalise_image(svg('<rect width="9" height="9"/>', 1, 100_000_000), SVG)).shape == (64, 64, 3)


def test_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999))
    with pytest.raises(MediaError, match=r"pixels|bomb"):
        normalise_image(bomb + chunk(b"IEND", b""), "image/png")


@few
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]), st.data())
def test_damaged_pictures_are_read_or_refused_never_crash(format: str, data: st.DataObject) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    payload = bytearray(png(Image.fromarray(noise), format))
    for _ in range(data.draw(st.integers(1, 6))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(payload[: data.draw(st.integers(0, len(payload)))])
    try:
        assert pixels(normalise_image(damaged, "image/png", 16)).shape == (16, 16, 3)
    except MediaError as error:
        assert "\n" not in str(error) and str(error)


# --- sounds ------------------------------------------------------------------------------------------------------

grid = npst.arrays(np.int16, st.integers(1, 3000))


def sound(samples: np.ndarray, rate: int = 16_000, format: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def as_float(samples: np.ndarray) -> np.ndarray:
    return (samples / FULL).astype(np.float32)


@few
@given(grid)
def test_a_sound_comes_back_exactly(samples: np.ndarray) -> None:
    clip = as_float(samples)
    data = encode_audio(clip)
    assert np.array_equal(decode_audio(data), clip)
    assert encode_audio(clip) == data


@few
@given(st.lists(grid, min_size=2, max_size=4), st.data())
def test_a_mixture_less_one_clip_is_the_mixture_of_the_others(clips: list[np.ndarray], data: st.DataObject) -> None:
    sounds = [as_float(clip) for clip in clips]
    gains = [data.draw(st.floats(0, 1 / len(clips))) for _ in clips]
    offsets = [data.draw(st.floats(0, 0.2)) for _ in clips]
    stored = decode_audio(encode_audio(mix(sounds, gains, offsets)))
    alone = decode_audio(encode_audio(mix(sounds[:1], gains[:1], offsets[:1])))
    others = decode_audio(encode_audio(mix(sounds[1:], gains[1:], offsets[1:])))
    remainder = stored.copy()
    remainder[: len(alone)] -= alone
    assert np.array_equal(remainder[: len(others)], others)
    assert not remainder[len(others) :].any()


@few
@given(grid, grid)
def test_a_mixture_never_clips(a: np.ndarray, b: np.ndarray) -> None:
    mixed = mix([as_float(a), as_float(b)], [0.5, 0.5], [0.0, 0.0])
    exact = np.zeros(max(len(a), len(b)))
    exact[: len(a)] += a / FULL / 2
    exact[: len(b)] += b / FULL / 2
    assert np.abs(mixed - exact).max() <= 2 / FULL and np.abs(mixed).max() <= 1


def test_full_scale_clips_may_be_mixed() -> None:
    loud = as_float(np.full(10, 32767, np.int16))
    assert mix([loud, loud], [0.5, 0.5], [0, 0]).max() <= 32766 / FULL
    assert mix([-loud, -loud], [0.5, 0.5], [0, 0]).min() >= -1


@pytest.mark.parametrize(
    ("gains", "offsets"), [([0.6, 0.6], [0, 0]), ([0.5, 0.5], [0, -1]), ([0.5], [0, 0]), ([-0.6, 0.6], [0, 0])]
)
def test_unsafe_mixtures_are_refused(gains: list[float], offsets: list[float]) -> None:
    with pytest.raises(ValueError, match="mix"):
        mix([np.zeros(4, np.float32)] * 2, gains, offsets)


@few
@given(st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000]), st.integers(1, 2), st.integers(200, 3000))
def test_any_rate_becomes_16_khz_mono_of_the_same_length(rate: int, channels: int, length: int) -> None:
    tone = 0.5 * np.sin(np.arange(length) * 2 * np.pi * 440 / rate)
    payload = sound(np.repeat(tone[:, None], channels, axis=1), rate)
    data, seconds = normalise_audio(payload)
    samples = decode_audio(data)
    assert samples.ndim == 1 and len(samples) == round(seconds * 16_000) == -(-length * 16_000 // rate)
    assert soundfile.info(io.BytesIO(data)).subtype == "PCM_16"
    assert normalise_audio(payload) == (data, seconds)


def test_pitch_and_level_stay() -> None:
    tone = 0.5 * np.sin(np.arange(44_100) * 2 * np.pi * 1000 / 44_100)
    samples = decode_audio(normalise_audio(sound(tone, 44_100, subtype="FLOAT"))[0])
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() == 1000
    assert np.abs(samples[2000:-2000]).max() == pytest.approx(0.5, abs=2e-3)


def test_silence_at_both_ends_is_kept() -> None:
    samples = np.concatenate([np.zeros(1600), np.full(1600, 0.25), np.zeros(3200)])
    out = decode_audio(normalise_audio(sound(samples))[0])
    assert len(out) == 6400 and not out[:1600].any() and not out[3200:].any() and out[1600:3200].all()


def test_long_sound_is_cut_and_faded_out() -> None:
    data, seconds = normalise_audio(sound(np.full(16_000 * 3, 0.5)), max_seconds=2.0)
    out = decode_audio(data)
    assert seconds == 2.0 and len(out) == 32_000
    assert (out[: 32_000 - 800] == 0.5).all() and (np.diff(out[-800:]) <= 0).all() and abs(out[-1]) < 1e-4


def test_overshoot_of_resampling_is_lowered_not_clipped() -> None:
    square = np.sign(np.sin(np.arange(44_100) * 2 * np.pi * 100 / 44_100 + 0.1))
    out = decode_audio(normalise_audio(sound(square, 44_100))[0])
    assert (np.abs(out) >= 32767 / FULL).sum() <= 4


NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 2000)
NOISES = {format: sound(NOISE, format=format) for format in ("WAV", "FLAC", "OGG")}  # an OGG has a random number inside


@few
@given(st.sampled_from(sorted(NOISES)), st.data())
def test_damaged_sounds_are_read_or_refused_never_crash(format: str, data: st.DataObject) -> None:
    payload = bytearray(NOISES[format])
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(payload[: data.draw(st.integers(0, len(payload)))])
    try:
        clip, seconds = normalise_audio(damaged)
        assert len(decode_audio(clip)) == round(seconds * 16_000) > 0
    except MediaError as error:
        assert "\n" not in str(error) and str(error)


def test_empty_and_infinite_sounds_are_refused() -> None:
    for payload in (b"", b"RIFF", sound(np.zeros(0)), sound(np.array([0.0, np.inf]), subtype="FLOAT")):
        with pytest.raises(MediaError):
            normalise_audio(payload)
