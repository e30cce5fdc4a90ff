"""Decodes raster images with Pillow, as a good viewer shows them: upright, 8-bit sRGB, the first frame of several.

All external image files are decoded here. Any error that a file causes in Pillow is raised as MediaError.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from codi2_datasets.media import MediaError, TooLarge
from codi2_datasets.media.decoding.colour import srgb
from codi2_datasets.media.decoding.media_types import media_type_of
from codi2_datasets.media.decoding.orientation import orientation_of, upright

MAX_PIXELS = 64_000_000  # of the original image; more is treated as a decompression bomb
# Left out: formats that run another program (EPS), and those without distinctive first bytes
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "ICO", "PPM", "PSD")
JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"
PNG_START = b"\x89PNG\r\n\x1a\n"


def decode(payload: bytes, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """RGB, or RGBA if there is transparency; without metadata. Raises MediaError."""
    with pillow_errors(payload):
        image = open_checked(payload, max_pixels, formats)
        orientation = load(image)
        shown = upright(srgb(image), orientation)
        shown.info = {}  # metadata that was applied must not be written and applied again
        return shown


def open_checked(payload: bytes, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Open an image by its header alone.

    Raises MediaError if it is empty or has too many pixels. Call within `pillow_errors`.
    """
    try:
        image = Image.open(io.BytesIO(payload), formats=formats)
    except Image.DecompressionBombError as error:
        raise TooLarge(f"more than {max_pixels:,} pixels") from error
    except (UnidentifiedImageError, SyntaxError, ValueError):
        if (readable := without_broken_metadata(payload)) == payload:
            raise
        image = Image.open(io.BytesIO(readable), formats=formats)
    check_size(*image.size, max_pixels)
    if image.format in ("JPEG", "MPO") and (whole := with_end(payload)) is not payload:
        return Image.open(io.BytesIO(whole), formats=formats)
    return image


def load(image: Image.Image) -> int:
    """Decode the pixels of a newly opened image as stored in the file, and return their orientation."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        orientation = orientation_of(image)
        # Pillow rotates a TIFF while loading it, and reads all of its EXIF for that: an empty one leaves the pixels
        # unchanged
        image._exif = Image.Exif()
        image._exif._loaded = True
        image.load()
        image._size = image.im.size
        return orientation
    fit_transparent_colour(image)
    image.load()
    return orientation_of(image)


def fit_transparent_colour(image: Image.Image) -> None:
    """A PNG gives its transparent colour in the file's own depth; Pillow compares it with 8-bit pixels."""
    key, tiles = image.info.get("transparency"), getattr(image, "tile", None)
    if image.format != "PNG" or not tiles:
        return
    raw = tiles[0].args if isinstance(tiles[0].args, str) else tiles[0].args[0]
    if isinstance(key, int) and raw in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw == "L;2" else 17)
    if isinstance(key, tuple) and raw == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)


def check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Raise MediaError for no pixels, or for more than allowed."""
    if width <= 0 or height <= 0:
        raise MediaError("no pixels")
    if width * height > max_pixels:
        raise TooLarge(f"{width} x {height} pixels, more than {max_pixels:,}")


@contextmanager
def pillow_errors(payload: bytes) -> Iterator[None]:
    """Turn every decoding error into a MediaError.

    Pillow's decoders have no exception of their own for damaged files, and its metadata readers raise anything from
    struct.error to ZeroDivisionError.
    """
    try:
        yield
    except MediaError:
        raise
    except UnidentifiedImageError as error:
        raise MediaError(unknown(payload)) from error
    except Exception as error:
        raise MediaError(f"damaged image: {one_line(error)}") from error


def unknown(payload: bytes) -> str:
    """Why Pillow cannot read a file."""
    media_type = media_type_of(payload)
    if not media_type:
        return "not an image of a known format"
    return (
        f"{media_type} cannot be read here, or its header is damaged"
        if media_type.startswith("image/")
        else f"{media_type}, not an image"
    )


def without_broken_metadata(payload: bytes) -> bytes:
    """The file without metadata that makes Pillow reject it, while other viewers ignore them.

    For a PNG, the ancillary chunks with a wrong checksum; for an AVIF, its EXIF.
    """
    if media_type_of(payload) == "image/avif":
        return payload.replace(b"Exif", b"skip")  # an item type that no reader supports
    return without_broken_chunks(payload) if payload.startswith(PNG_START) else payload


def without_broken_chunks(png: bytes) -> bytes:
    """The PNG without the ancillary chunks whose checksum is wrong."""
    kept, place = [PNG_START], len(PNG_START)
    while place + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, place)
        end = place + 12 + length
        name, checksum = png[place + 4 : place + 8], png[end - 4 : end]
        ancillary = bool(name[0] & 32)
        if not ancillary or zlib.crc32(png[place + 4 : end - 4]).to_bytes(4, "big") == checksum:
            kept.append(png[place:end])
        place = end
    return b"".join(kept)


def with_end(jpeg: bytes) -> bytes:
    """Complete a JPEG that lacks nothing but its end marker, because Pillow rejects it; return any other unchanged."""
    if jpeg.endswith(JPEG_END) or jpeg.find(JPEG_END, jpeg.rfind(JPEG_SCAN)) >= 0:
        return jpeg
    scan = jpeg.rstrip(b"\xff")  # half of the marker
    # if pixels are missing, the decoder takes them from whatever follows
    seen = [Image.open(io.BytesIO(scan + more + JPEG_END)).tobytes() for more in (b"", b"\x55\xaa" * 64)]
    return scan + JPEG_END if seen[0] == seen[1] else jpeg


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
