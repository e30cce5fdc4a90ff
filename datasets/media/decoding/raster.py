"""Images of pixels: the one place where files of others are decoded with Pillow, as a good viewer shows them.

Upright, in 8-bit sRGB, the first frame of several. Whatever a file makes Pillow do, it is that file's MediaError.
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

MAX_PIXELS = 64_000_000  # of the image as it came; more is taken for a decompression bomb
# Left out: what runs another program (EPS), and what no first bytes tell
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "ICO", "PPM", "PSD")
JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"
PNG_START = b"\x89PNG\r\n\x1a\n"


def decode(payload: bytes, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """RGB, or RGBA where there is transparency; without metadata. Raises MediaError."""
    with pillow_errors(payload):
        image = open_checked(payload, max_pixels, formats)
        orientation = load(image)
        shown = upright(srgb(image), orientation)
        shown.info = {}  # what was applied must not be written, and applied, again
        return shown


def open_checked(payload: bytes, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """The image by its header alone, refused if it is empty or has too many pixels. Call within `pillow_errors`."""
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
    """Decode the pixels of a freshly opened image, as they lie in the file, and give their orientation."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        orientation = orientation_of(image)
        # Pillow turns a TIFF while loading it, and reads all of its EXIF for that: an empty one leaves the pixels alone
        image._exif = Image.Exif()
        image._exif._loaded = True
        image.load()
        image._size = image.im.size
        return orientation
    fit_transparent_colour(image)
    image.load()
    return orientation_of(image)


def fit_transparent_colour(image: Image.Image) -> None:
    """A PNG names its transparent colour in the file's own depth; Pillow compares it with pixels of 8 bits."""
    key, tiles = image.info.get("transparency"), getattr(image, "tile", None)
    if image.format != "PNG" or not tiles:
        return
    raw = tiles[0].args if isinstance(tiles[0].args, str) else tiles[0].args[0]
    if isinstance(key, int) and raw in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw == "L;2" else 17)
    if isinstance(key, tuple) and raw == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)


def check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Raises MediaError for no pixels, or more than are allowed."""
    if width <= 0 or height <= 0:
        raise MediaError("no pixels")
    if width * height > max_pixels:
        raise TooLarge(f"{width} x {height} pixels, more than {max_pixels:,}")


@contextmanager
def pillow_errors(payload: bytes) -> Iterator[None]:
    """Turns every error of decoding into a MediaError: Pillow's decoders have none of their own for damaged files, and
    its readers of metadata raise anything from struct.error to ZeroDivisionError."""
    try:
        yield
    except MediaError:
        raise
    except UnidentifiedImageError as error:
        raise MediaError(unknown(payload)) from error
    except Exception as error:
        raise MediaError(f"damaged image: {one_line(error)}") from error


def unknown(payload: bytes) -> str:
    """Why Pillow does not know a file."""
    found = media_type_of(payload)
    if not found:
        return "not an image of a known format"
    return (
        f"{found} cannot be read here, or its header is damaged"
        if found.startswith("image/")
        else f"{found}, not an image"
    )


def without_broken_metadata(payload: bytes) -> bytes:
    """The file without the metadata for which Pillow refuses it, where other viewers pass over them: of a PNG the
    ancillary chunks whose checksum is wrong, of an AVIF its EXIF."""
    if media_type_of(payload) == "image/avif":
        return payload.replace(b"Exif", b"skip")  # a type of item that no reader knows
    return without_broken_chunks(payload) if payload.startswith(PNG_START) else payload


def without_broken_chunks(png: bytes) -> bytes:
    """The PNG less the ancillary chunks whose checksum is wrong."""
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
    """A JPEG that lacks nothing but its end marker, with one, since Pillow refuses it; any other as it is."""
    if jpeg.endswith(JPEG_END) or jpeg.find(JPEG_END, jpeg.rfind(JPEG_SCAN)) >= 0:
        return jpeg
    scan = jpeg.rstrip(b"\xff")  # half of the marker
    # where pixels are missing, the decoder takes them from whatever follows
    seen = [Image.open(io.BytesIO(scan + more + JPEG_END)).tobytes() for more in (b"", b"\x55\xaa" * 64)]
    return scan + JPEG_END if seen[0] == seen[1] else jpeg


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
