"""Image orientation: read from EXIF or XMP even if the rest of it is damaged, and applied to the pixels.

Pillow's own `exif_transpose` writes the EXIF block back and fails on values that it cannot write; here one number is
read.
"""

from __future__ import annotations

import re
import struct
from typing import Any

from PIL import Image, TiffImagePlugin

TAG = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # width and height are swapped
_INTEGERS = {1: "B", 3: "H", 4: "I"}  # TIFF field types in which writers store the orientation
_XMP = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\b""")


def orientation_of(image: Image.Image) -> int:
    """1 to 8 as defined by EXIF; 1 if the file has no readable value. EXIF takes precedence over XMP.

    A PNG may have its metadata after the pixels: call this after `load`, but for a TIFF before it.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        value = _tiff_tag(image)
    else:
        value = _exif(_bytes_of(image.info.get("exif"))) or _exif(_raw_profile(image.info.get("Raw profile type exif")))
    return value or _xmp(image) or 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image rotated or flipped by its orientation."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height as displayed."""
    return (size[1], size[0]) if orientation in SIDEWAYS else size


def _exif(block: bytes) -> int | None:
    """The orientation in the first directory of an EXIF block; None if it cannot be read."""
    header = re.search(rb"II\*\0|MM\0\*", block[:64])
    if not header:
        return None
    block, order = block[header.start() :], "<" if header[0][:1] == b"I" else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", block, place)
            if tag == TAG and kind in _INTEGERS:
                (value,) = struct.unpack_from(order + _INTEGERS[kind], block, place + 8)
                return value if 1 <= value <= 8 else None
    except struct.error:  # ends before the orientation
        pass
    return None


def _tiff_tag(image: TiffImagePlugin.TiffImageFile) -> int | None:
    try:
        value = int(image.tag_v2.get(TAG, 0))  # type: ignore[arg-type]
    except Exception:  # fields are decoded on access, and Pillow has no exception of its own for damaged ones
        return None
    return value if 1 <= value <= 8 else None


def _xmp(image: Image.Image) -> int | None:
    for name in ("XML:com.adobe.xmp", "xmp"):
        if match := _XMP.search(_bytes_of(image.info.get(name))):
            return int(match[1])
    return None


def _raw_profile(value: Any) -> bytes:
    """EXIF in ImageMagick's PNG text form: a name, a length, then hexadecimal digits."""
    digits = re.sub(rb"\s", b"", b"".join(_bytes_of(value).split(b"\n")[3:]))
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


def _bytes_of(value: Any) -> bytes:
    """Metadata from Pillow, which may be bytes, a string, or a list, as bytes."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, (list, tuple)):
        return b"".join(_bytes_of(one) for one in value)
    return b""
