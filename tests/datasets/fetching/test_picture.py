"""What is kept of a fetched image shows what a viewer shows: upright, in its colours, with its true size in the table."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from codi2_datasets.connectors import Link
from codi2_datasets.fetching import picture
from codi2_datasets.fetching.options import Options
from codi2_datasets.fetching.picture import StoredMedium
from codi2_datasets.media.decoding.media_types import EXTENSIONS
from codi2_datasets.media.image import decode_image
from codi2_datasets.readers.media import ENDINGS
from tests.datasets import media_files as files

LARGE, SMALL = files.scene(480, 320), files.scene()
OPTIONS = Options(size=64)
LOSSY = 6.0
KINDS = ("JPEG", "JPEG MM", "JPEG XMP", "PNG", "PNG behind", "PNG XMP", "WEBP", "WEBP XMP", "TIFF", "TIFF XMP", "AVIF")


def keep(data: bytes, options: Options = OPTIONS) -> StoredMedium:
    return picture.keep(data, Link("x", "http://x.example/"), options)


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_kept_upright_with_the_size_that_is_shown(kind: str) -> None:
    for orientation in (1, 2, 6, 8):
        for image in (LARGE, SMALL):
            kept = keep(files.stored(image, orientation, kind))
            shown = decode_image(kept.data)
            assert (kept.status, kept.width, kept.height) == ("ok", *shown.size)
            expected = files.turned(image, orientation).resize(shown.size, Image.Resampling.BOX)
            assert files.unlike(shown, expected) < LOSSY, orientation
            assert min(shown.size) == (64 if image is LARGE else 32)
            if image is LARGE:  # whoever reads no metadata sees it upright as well
                assert files.unlike(Image.open(io.BytesIO(kept.data)).convert("RGB"), expected) < LOSSY


def test_a_small_image_stays_as_it_came() -> None:
    for kind, extension in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("MPO", "jpg")):
        data = files.encoded(SMALL, kind)
        kept = keep(data)
        assert (kept.status, kept.data, kept.extension) == ("ok", data, extension)


def test_deep_and_tagged_pixels_keep_their_look_when_they_are_made_small() -> None:
    ramp = np.tile(np.linspace(0, 65_535, 480), (320, 1))
    wide = files.rgb_profile(files.ADOBE_COLUMNS)
    inks = LARGE.convert("CMYK")
    for data in (
        files.png(ramp, 16, 0), files.encoded(LARGE, "JPEG", icc_profile=wide, quality=95), files.encoded(inks, "JPEG"),
        files.encoded(LARGE, "PNG", icc_profile=wide), files.encoded(inks, "TIFF", icc_profile=files.cmyk_profile()),
        files.encoded(LARGE.quantize(8), "PNG"), files.encoded(LARGE, "JPEG", keep_rgb=True), files.encoded(LARGE.convert("L"), "JPEG"), files.encoded(Image.fromarray((ramp / 65_535).astype(np.float32)), "TIFF"),
    ):  # fmt: skip
        kept = keep(data)
        expected = decode_image(data).resize((96, 64), Image.Resampling.BOX)
        assert kept.status == "ok" and files.unlike(Image.open(io.BytesIO(kept.data)).convert("RGB"), expected) < LOSSY


def test_transparency_is_kept_and_the_first_frame_of_an_animation() -> None:
    layer = LARGE.convert("RGBA")
    layer.paste((0, 0, 0, 0), (0, 0, 240, 320))
    kept = keep(files.encoded(layer, "PNG"))
    alpha = np.asarray(Image.open(io.BytesIO(kept.data)).convert("RGBA"))[..., 3]
    assert kept.extension == "webp" and not alpha[:, :40].any() and (alpha[:, 56:] == 255).all()
    moving = keep(files.encoded(LARGE, "GIF", save_all=True, append_images=[LARGE.rotate(180)]))
    assert files.unlike(decode_image(moving.data), LARGE.resize((96, 64))) < LOSSY


def test_damage_of_metadata_is_no_damage_of_the_image() -> None:
    for block in (files.exif(6), files.exif(6, more=b"\xff"), b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"):
        data = files.with_segment(files.encoded(LARGE, "JPEG"), block)
        assert keep(data).status == "ok"


def test_what_cannot_be_read_says_why() -> None:
    data = files.encoded(LARGE, "JPEG")
    assert keep(data[: len(data) // 2]).status == "damaged"
    many = keep(data, Options(most_pixels=1_000))
    assert many.status == "too_many_pixels" and "480 x 320" in many.error
    heic = keep(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50)
    assert heic.status == "damaged" and "image/heic" in heic.error
    assert keep(files.audio(np.zeros(100))).status == "not_media"


def test_audio_and_video_are_kept_by_the_tracks_in_them() -> None:
    moving = files.video([SMALL] * 4, sound=440, cover="first")
    song = files.contained(np.zeros((48_000, 1)), "mono", "mp4", "aac")
    clip, sound, alone = (keep(d, Options(media=m)) for d, m in ((moving, "video"), (moving, "audio"), (song, "audio")))
    assert (clip.data, clip.extension, sound.extension, alone.data, alone.extension) == (
        moving,
        "mp4",
        "wav",
        song,
        "m4a",
    )
    assert keep(song, Options(media="video")).status == "not_media"
    assert keep(files.video([SMALL] * 4), Options(media="audio")).status == "not_media"


def test_what_is_kept_is_found_again_by_its_extension() -> None:
    for media_type, extension in EXTENSIONS.items():
        assert extension in ENDINGS[media_type.partition("/")[0]], media_type
