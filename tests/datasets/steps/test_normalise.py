"""Columns of a normalised medium: its sides, and those of the work that it was made from."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from codi2_datasets.corpora import SourceRow
from codi2_datasets.steps.normalise import normalise
from codi2_datasets.steps.partitions import Media

MEDIA = Media(size=16, sample_rate=8_000, max_seconds=1.0, fps=4, max_video_seconds=1.0)
ROTATED = 6  # EXIF: the camera was held upright
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="100"><rect width="9" height="9"/></svg>'


def encoded(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 24), "teal").save(out, kind, **options)
    return out.getvalue()


def upright_photo() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    return encoded("JPEG", exif=exif)


@pytest.mark.parametrize(
    ("modality", "payload", "media_type", "sides"),
    [
        ("image", encoded("PNG"), "image/png", (40, 24)),
        ("image", upright_photo(), "image/jpeg", (24, 40)),
        ("image", SVG, "image/svg+xml", (None, None)),
        ("video", encoded("GIF", save_all=True, append_images=[Image.new("RGB", (40, 24), "red")], duration=250), "image/gif", (40, 24)),
    ],
    ids=["png", "rotated jpeg", "svg", "gif"],
)  # fmt: skip
def test_the_sides_of_the_original_are_kept_as_displayed(
    modality: str, payload: bytes, media_type: str, sides: tuple[int | None, int | None]
) -> None:
    row = SourceRow("corpus", "row", modality, payload, media_type, "CC0-1.0", "us", "a thing", {})
    columns, data = normalise(row, MEDIA)
    assert data is not None and (columns["width"], columns["height"]) == (16, 16)
    assert (columns["source_width"], columns["source_height"]) == sides
