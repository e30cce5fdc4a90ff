"""Images of others are decoded as a good viewer shows them: upright, in sRGB, whatever their depth and their metadata."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from codi2_datasets.media import MediaError, TooLarge
from codi2_datasets.media.decoding.media_types import media_type_of
from codi2_datasets.media.image import decode_image, normalise_image
from tests.datasets import media_files as files

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's, of the damage that is done here
few = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
KINDS = ("JPEG", "JPEG MM", "JPEG XMP", "PNG", "PNG behind", "PNG profile", "PNG XMP", "WEBP", "WEBP XMP", "TIFF",
         "TIFF LZW", "TIFF XMP", "AVIF")  # fmt: skip
LOSSY = 4.0  # of 255, on the mean: what compression changes in the scene
SCENE = files.scene()
RAMP = np.tile(np.linspace(0, 1, 48), (32, 1))
GRAYS = np.repeat(np.rint(RAMP * 255)[..., None], 3, axis=2)


# --- orientation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_orientation_is_applied_wherever_a_file_holds_it(kind: str) -> None:
    for orientation in range(1, 9):
        found = decode_image(files.stored(SCENE, orientation, kind))
        assert files.unlike(found, files.turned(SCENE, orientation)) < LOSSY, orientation
        assert not found.info, "what was applied would be applied again"


@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_from_damaged_exif(kind: int, order: str) -> None:
    for more in (b"", struct.pack("<ii", 1, 0), b"\xff"):  # a fraction of -1 / 0, one of 1 / 0, and none
        data = files.with_segment(files.encoded(SCENE, "JPEG", quality=95), files.exif(6, kind, order, more))
        assert files.unlike(decode_image(data), files.turned(SCENE, 6)) < LOSSY


@few
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "AVIF"]), st.data())
def test_no_damage_of_exif_fails_an_image(kind: str, data: st.DataObject) -> None:
    whole = files.encoded(SCENE, "AVIF", exif=files.sound_exif(1)) if kind == "AVIF" else files.exif(6, more=bytes(8))
    start = whole.index(b"MM\0*") if kind == "AVIF" else 6  # that writer refuses damage: it is done to its file
    block, end = bytearray(whole), start + 30
    for _ in range(data.draw(st.integers(1, 8))):
        block[data.draw(st.integers(start, end))] = data.draw(st.integers(0, 255))
    if kind == "JPEG":
        block = block[: data.draw(st.integers(6, len(block)))]
        payload = files.with_segment(files.encoded(SCENE, kind, quality=95), bytes(block))
    else:
        payload = bytes(block) if kind == "AVIF" else files.encoded(SCENE, kind, exif=bytes(block))
    assert sorted(decode_image(payload).size) == sorted(SCENE.size)


@few
@given(st.binary(max_size=200))
def test_no_damage_of_xmp_fails_an_image(junk: bytes) -> None:
    for kind in ("JPEG", "WEBP", "TIFF"):
        payload = files.encoded(SCENE, kind, xmp=junk)
        assert files.unlike(decode_image(payload), SCENE) < 20
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + files.xmp(8, junk)
    turned = decode_image(files.with_segment(files.encoded(SCENE, "JPEG", quality=95), xmp))
    assert files.unlike(turned, files.turned(SCENE, 8)) < LOSSY


def test_a_png_is_read_past_metadata_with_a_wrong_checksum() -> None:
    png, wrong = files.encoded(SCENE, "PNG"), files.chunk(b"eXIf", files.exif(6)[6:], right=False)
    assert files.unlike(decode_image(png[:33] + wrong + png[33:]), SCENE) == 0
    with pytest.raises(MediaError):
        decode_image(png[:33] + files.chunk(b"PLTE", b"\0" * 7, right=False) + png[33:])


def test_a_jpeg_may_lack_its_end_marker_and_nothing_else() -> None:
    whole = files.encoded(SCENE, "JPEG", quality=95)
    for cut in (1, 2):
        assert files.unlike(decode_image(whole[:-cut]), decode_image(whole)) == 0
    for cut in (4, 20, len(whole) // 3):
        with pytest.raises(MediaError, match="damaged image"):
            decode_image(whole[:-cut])


def test_the_first_image_of_several_is_shown() -> None:
    others = [SCENE.rotate(180), SCENE.rotate(90)]
    for kind in ("GIF", "WEBP", "TIFF", "PNG", "MPO"):
        data = files.encoded(SCENE, kind, save_all=True, append_images=others)
        assert files.unlike(decode_image(data), SCENE) < 20, kind
    turned = files.encoded(SCENE, "MPO", save_all=True, append_images=others, exif=files.exif(6))
    assert decode_image(turned).size == SCENE.size[::-1]


# --- depth -----------------------------------------------------------------------------------------------------------


def tiff(values: np.ndarray) -> bytes:
    return files.encoded(Image.fromarray(values), "TIFF")


def big_endian() -> bytes:
    return files.encoded(Image.frombytes("I;16B", (48, 32), (RAMP * 65_535).astype(">u2").tobytes()), "TIFF")


def white_is_zero() -> bytes:
    data = bytearray(tiff(((1 - RAMP) * 65_535).astype(np.uint16)))
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    field = next(at for at in range(start + 2, start + 2 + 12 * count, 12) if data[at : at + 2] == b"\x06\x01")
    data[field + 8] = 0
    return bytes(data)


GRAY_FILES = {
    "PNG 16": files.png(RAMP * 65_535, 16, 0), "TIFF 16": tiff((RAMP * 65_535).astype(np.uint16)),
    "TIFF 16 big-endian": big_endian(), "TIFF 16 white is zero": white_is_zero(),
    "TIFF 32 of 8": tiff(np.rint(RAMP * 255).astype(np.int32)), "TIFF 32 of 16": tiff((RAMP * 65_535).astype(np.int32)),
    "TIFF 32": tiff((RAMP * (2**31 - 1)).astype(np.int32)), "TIFF float": tiff(RAMP.astype(np.float32)),
    "TIFF float of 8": tiff((RAMP * 255).astype(np.float32)), "TIFF float of 16": tiff((RAMP * 65_535).astype(np.float32)),
    "TIFF float signed": tiff((RAMP * 4 - 2).astype(np.float32)), "TIFF float large": tiff((RAMP * 1e6).astype(np.float32)),
    "PGM 16": b"P5 48 32 65535\n" + (RAMP * 65_535).astype(">u2").tobytes(),
    "PGM 10": b"P5 48 32 1023\n" + np.rint(RAMP * 1023).astype(">u2").tobytes(),
    "PNG 16 with alpha": files.png(np.stack([RAMP * 65_535, np.full(RAMP.shape, 65_535)], axis=2), 16, 4),
    "PNG 16 RGB": files.png(np.repeat(RAMP[..., None] * 65_535, 3, axis=2), 16, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAY_FILES)
def test_deep_and_floating_pixels_keep_their_range(name: str) -> None:
    assert np.abs(files.pixels(decode_image(GRAY_FILES[name])) - GRAYS).max() <= 1


def test_a_few_floats_that_are_no_numbers_or_brighter_than_white_spoil_nothing() -> None:
    values = RAMP.astype(np.float32)
    values[0, :3], values[1, 0] = (np.nan, np.inf, -np.inf), 40.0
    found = files.pixels(decode_image(tiff(values)))
    assert np.abs(found - GRAYS)[2:].max() <= 1 and found[0, 0, 0] == 0 and found[0, 1, 0] == found[1, 0, 0] == 255
    with pytest.raises(MediaError, match="no pixel has a finite value"):
        decode_image(tiff(np.full((4, 4), np.nan, np.float32)))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_gray_of_a_png_is_compared_in_its_own_depth(bits: int) -> None:
    most = 2**bits - 1
    values = np.rint(RAMP * most)
    key = int(values[0, 24])
    expected = np.where(values == key, 255, values * 255 / most)
    data = files.png(values, bits, 0, files.chunk(b"tRNS", struct.pack(">H", key)))
    assert np.abs(files.pixels(decode_image(data))[..., 0] - expected).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_the_transparent_colour_of_a_png_is_white(bits: int) -> None:
    values = files.pixels(SCENE) * (257 if bits == 16 else 1)
    data = files.png(values, bits, 2, files.chunk(b"tRNS", struct.pack(">HHH", *values[0, 0])))
    expected = np.where((files.pixels(SCENE) == files.GREEN).all(axis=2, keepdims=True), 255, files.pixels(SCENE))
    assert np.abs(files.pixels(decode_image(data)) - expected).max() <= 1


# --- colours ---------------------------------------------------------------------------------------------------------


def lab() -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.applyTransform(SCENE, ImageCms.buildTransform(*profiles, "RGB", "LAB"))


COLOURED: dict[str, tuple[bytes, float]] = {
    "CMYK JPEG": (files.encoded(SCENE.convert("CMYK"), "JPEG", quality=95), LOSSY),
    "CMYK TIFF": (files.encoded(SCENE.convert("CMYK"), "TIFF"), 1), "LAB TIFF": (files.encoded(lab(), "TIFF"), 2),
    "YCbCr TIFF": (files.encoded(SCENE.convert("YCbCr"), "TIFF", compression="jpeg"), LOSSY),
    "palette": (files.encoded(SCENE.quantize(8), "PNG"), 0), "JPEG 2000": (files.encoded(SCENE, "JPEG2000"), 1),
    "palette, all of it opaque": (files.encoded(SCENE.quantize(3), "PNG", transparency=b"\xff" * 3), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", COLOURED)
def test_colours_of_every_coding_are_those_that_went_in(name: str) -> None:
    data, tolerance = COLOURED[name]
    assert files.unlike(decode_image(data), SCENE) <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_what_is_transparent_is_white(kind: str) -> None:
    layer = SCENE.convert("RGBA")
    layer.paste((0, 0, 0, 0), (0, 0, 12, 32))
    found = files.pixels(decode_image(files.encoded(layer, kind)))
    assert found[:, :10].min() >= 250 and files.unlike(found[:, 14:], files.pixels(SCENE)[:, 14:]) < 20


def adobe_as_srgb(value: Any) -> np.ndarray:
    """By the definitions of the two spaces, in floats."""
    columns, own = np.array(files.ADOBE_COLUMNS).T, np.array(files.SRGB_COLUMNS).T
    linear = np.linalg.solve(own, columns @ (np.asarray(value) / 255.0) ** 2.2).clip(0, 1)
    return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


@few
@given(st.tuples(*[st.integers(0, 255)] * 3), st.sampled_from(["PNG", "TIFF", "WEBP"]))
def test_a_wide_profile_is_converted(colour: tuple[int, int, int], kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = files.encoded(
        Image.new("RGB", (4, 4), colour), kind, icc_profile=files.rgb_profile(files.ADOBE_COLUMNS), **options
    )
    assert np.abs(files.pixels(decode_image(data))[0, 0] - adobe_as_srgb(colour)).max() <= 3


def test_profiles_of_gray_and_of_inks_are_converted_and_alpha_stays() -> None:
    gray = Image.new("L", (4, 4), 128)
    dark = decode_image(files.encoded(gray, "PNG", icc_profile=files.gray_profile(3.0))).getpixel((0, 0))
    assert dark[0] == dark[1] == dark[2] and abs(dark[0] - 100) <= 2  # (128 / 255) ** 3 in linear light
    gray.putalpha(128)
    over = decode_image(files.encoded(gray, "PNG", icc_profile=files.gray_profile(3.0))).getpixel((0, 0))
    assert abs(over[0] - (dark[0] * 128 + 255 * 127) / 255) <= 2
    inks = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    shown = decode_image(files.encoded(inks, "TIFF", icc_profile=files.cmyk_profile())).getpixel((0, 0))
    assert max(shown) - min(shown) < 16 and 80 < shown[0] < 150  # gray, where cyan is computed without the profile


def test_a_profile_that_is_srgb_or_broken_or_of_other_colours_changes_no_byte() -> None:
    plain = decode_image(files.encoded(SCENE, "PNG"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    broken = bytearray(files.rgb_profile(files.ADOBE_COLUMNS))
    broken[130:140] = b"\xff" * 10
    for tagged in (srgb, bytes(broken), b"no profile", files.gray_profile(3.0), files.cmyk_profile()):
        assert files.unlike(decode_image(files.encoded(SCENE, "PNG", icc_profile=tagged)), plain) == 0


def test_gamma_is_applied_where_browsers_agree_on_it() -> None:
    primaries = files.chunk(b"cHRM", struct.pack(">8I", 31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000))

    def head(value: int) -> bytes:
        return files.chunk(b"gAMA", struct.pack(">I", value))

    def level(*more: bytes) -> int:
        return decode_image(files.png(np.full((4, 4), 128), 8, 0, *more)).getpixel((0, 0))[0]

    assert level(head(45_455)) == level(head(45_455), primaries) == level(head(55_000)) == 128
    assert level(head(100_000)) == level(head(100_000), primaries) == 186 and level(head(55_000), primaries) == 144
    assert level(head(100_000), files.chunk(b"sRGB", b"\0")) == 128


# --- what is refused -------------------------------------------------------------------------------------------------

REFUSED = {
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50, "image/heic cannot be read"),
    "JPEG XL": (b"\xff\x0a" + b"\0" * 40, "image/jxl cannot be read"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
    "HTML": (b"<html><svg></svg></html>", "not an image"), "nothing": (b"", "not an image"),
    "video": (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "video/mp4, not an image"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_or_of_no_known_format_says_so(name: str) -> None:
    payload, reason = REFUSED[name]
    with pytest.raises(MediaError, match=reason):
        normalise_image(payload, "image/png")


def test_too_many_pixels_are_refused_by_the_header() -> None:
    with pytest.raises(TooLarge, match="48 x 32 pixels, more than 1,000"):
        decode_image(files.encoded(SCENE, "PNG"), max_pixels=1_000)


def test_media_types_are_told_by_the_first_bytes() -> None:
    svg = (
        b"<?xml version='1.0'?>\n<!-- c --><!DOCTYPE svg PUBLIC 'x' 'y' [<!ENTITY a 'b'>]>"
        + b" " * 2_000
        + b"<svg:svg>"
    )
    told = {
        "image/svg+xml": svg, "image/avif": files.encoded(SCENE, "AVIF"), "image/jp2": files.encoded(SCENE, "JPEG2000"),
        "image/heic": REFUSED["HEIC"][0], "video/3gpp": b"\0\0\0\x18ftyp3gp4", "audio/mp4": b"\0\0\0\x18ftypM4A ",
        "video/quicktime": b"\0\0\0\x14ftypqt  ", "audio/aac": b"\xff\xf1\x50\x80\0\x1f\xfc", "audio/aiff": b"FORM\0\0\0\0AIFF",
        "audio/mpeg": b"\xff\xfb\x90\x64", "audio/amr": b"#!AMR\n", "video/mp2t": (b"G" + bytes(187)) * 3,
        "video/x-flv": b"FLV\x01\x05", "audio/flac": b"ID3\x04\0\0\0\0\0\x02\0\0fLaC", "": "\ufeffabc".encode("utf-16-le"),
    }  # fmt: skip
    assert {media_type_of(data): data for data in told.values()} == told
    for page in (b"<!doctype html><svg>", b"<html><body><svg/></body></html>", b"<svgx>", b"text with <svg> in it"):
        assert media_type_of(page) == ""
