"""Media in requests are what they are in the dataset: the server decodes by the same path, within its own limits."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from codi2_datasets.media.image import decode_image
from codi2_model.serving.http.media import SIDE, Limits, MediaRefused, read_audio, read_image, read_video
from tests.datasets import media_files as files

SCENE, LIMITS = files.scene(), Limits()
TONE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG XMP", "PNG", "PNG behind", "WEBP", "WEBP XMP"])
def test_images_are_upright(kind: str) -> None:
    for orientation in (3, 6, 7):
        data = files.stored(SCENE, orientation, kind)
        assert files.unlike(read_image(data, LIMITS), decode_image(data)) == 0
        assert files.unlike(read_image(data, LIMITS), files.turned(SCENE, orientation)) < 4


def test_deep_tagged_and_damaged_images_are_those_of_the_dataset() -> None:
    ramp = np.tile(np.linspace(0, 65_535, 48), (32, 1))
    jpeg = files.encoded(SCENE, "JPEG", quality=95)
    for data in (
        files.png(ramp, 16, 0), files.encoded(SCENE, "PNG", icc_profile=files.rgb_profile(files.ADOBE_COLUMNS)),
        files.encoded(SCENE.convert("CMYK"), "JPEG"), files.with_segment(jpeg, files.exif(6)), jpeg[:-2],
        files.with_segment(jpeg, b"http://ns.adobe.com/xap/1.0/\0" + files.xmp(6)), files.encoded(SCENE.quantize(4), "PNG"),
    ):  # fmt: skip
        assert files.unlike(read_image(data, LIMITS), decode_image(data)) == 0


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "I;16"])
def test_large_images_are_made_small_after_they_are_decoded(mode: str) -> None:
    ramp = np.tile(np.linspace(0, 255, 3_000), (1_500, 1))
    image = Image.fromarray(ramp.astype(np.uint8)).convert("RGB")
    image = Image.fromarray((ramp * 257).astype(np.uint16)) if mode == "I;16" else image.convert(mode)
    data = files.encoded(image, "PNG", exif=files.sound_exif(6))
    shown = read_image(data, LIMITS)
    assert shown.size == (SIDE // 2, SIDE)
    expected = (
        Image.fromarray(ramp.astype(np.uint8)).transpose(Image.Transpose.ROTATE_270).resize(shown.size).convert("RGB")
    )
    assert files.unlike(shown, expected) < (20 if mode == "1" else 3)


def test_video_is_upright_of_square_pixels_and_without_its_cover() -> None:
    turned = read_video(files.video([SCENE] * 8, turn=(-90,)), LIMITS)
    wide = read_video(files.video([SCENE] * 8, aspect=Fraction(2)), LIMITS)
    covered = read_video(files.video([SCENE] * 8, cover="first", sound=440), LIMITS)
    assert len(turned) == len(wide) == len(covered) == 8
    seen = [np.argwhere(clip[4].min(axis=2) < 240).max(axis=0) - np.argwhere(clip[4].min(axis=2) < 240).min(axis=0) + 1
            for clip in (turned, wide, covered)]  # fmt: skip
    assert [round(width / height, 1) for height, width in seen] == [0.7, 3.0, 1.5]
    assert covered[4][128, 200].tolist()[2] > 150  # blue, where the cover is green


def test_frames_of_a_video_are_chosen_by_their_time() -> None:
    clip = read_video(
        files.video([np.full((32, 32, 3), level, np.uint8) for level in (40, 120, 220, 220)], [0, 2.0, 2.1, 2.5]),
        LIMITS,
    )
    assert [round(float(clip[k].mean()) / 20) for k in (0, 15, 16, 18)] == [2, 2, 6, 11]


def test_audio_is_no_silence_and_not_clipped() -> None:
    inverted = read_audio(files.audio(np.stack([TONE, -TONE], axis=1)), LIMITS)
    assert abs(float(np.abs(inverted).max()) - 0.3) < 0.01
    loud = read_audio(files.audio(10 * TONE, subtype="FLOAT"), LIMITS)
    assert np.abs(loud - TONE / 0.3).max() < 0.01
    assert len(read_audio(files.contained(TONE[:, None], "mono", "mp4", "aac", 16_000), LIMITS)) >= 16_000


def test_limits_are_the_servers_own() -> None:
    with pytest.raises(MediaRefused, match="48 x 32 pixels, more than 1,000"):
        read_image(files.encoded(SCENE, "PNG"), Limits(image_pixels=1_000))
    with pytest.raises(MediaRefused, match="known formats: png, jpeg"):
        read_image(files.encoded(SCENE, "TIFF"), LIMITS)
    with pytest.raises(MediaRefused, match=r"1\.0 s, more than 0\.5 s"):
        read_audio(files.audio(TONE), Limits(audio_seconds=0.5))
    with pytest.raises(MediaRefused, match="longer than 0"):
        read_audio(files.contained(TONE[:, None], "mono", "mp4", "aac", 16_000), Limits(audio_seconds=0.5))
    with pytest.raises(MediaRefused, match="no video, only a cover"):
        read_video(files.contained(TONE[:, None], "mono", "mp4", "aac", 16_000, cover=True), LIMITS)
