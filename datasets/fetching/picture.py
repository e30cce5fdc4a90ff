"""Bytes from the web to what is kept of them: told from their content, refused where they are bombs, made small."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass

from PIL import Image

from codi2_datasets.connectors.base import Link
from codi2_datasets.connectors.reading.media import media_type_of, medium
from codi2_datasets.connectors.reading.values import Bad
from codi2_datasets.fetching import status
from codi2_datasets.fetching.options import Options

EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif", "image/svg+xml": "svg",
              "audio/flac": "flac", "audio/ogg": "ogg", "audio/mpeg": "mp3", "audio/wav": "wav", "audio/mp4": "m4a",
              "video/mp4": "mp4", "video/webm": "webm", "video/x-msvideo": "avi", "image/bmp": "bmp", "image/tiff": "tif"}  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """A medium as it goes into the tar; `status` is ok, or why there is none."""

    status: str
    error: str = ""
    data: bytes = b""
    extension: str = ""
    width: int | None = None
    height: int | None = None
    sha256: str = ""
    """Of the bytes as they came."""


def keep(data: bytes, link: Link, options: Options) -> Kept:
    """Check and shrink. Runs in a thread: Pillow lets others work meanwhile."""
    digest = hashlib.sha256(data).hexdigest()
    if (link.sha256 and link.sha256.lower() != digest) or (
        link.md5 and link.md5.lower() != hashlib.md5(data, usedforsecurity=False).hexdigest()
    ):
        return Kept(status.HASH, "other bytes than the list promises", sha256=digest)
    found = media_type_of(data)
    if not found.startswith(options.media) and not (options.media == "audio" and found.startswith("video")):
        return Kept(status.NOT_MEDIA, f"{found or 'no medium'}, not {options.media}", sha256=digest)
    if options.media != "image" or found == "image/svg+xml":
        taken = medium(data, link.row_id, (options.media,))
        if isinstance(taken, Bad):
            return Kept(status.NOT_MEDIA, taken.reason, sha256=digest)
        return Kept(status.OK, "", taken.data, EXTENSIONS[taken.media_type], sha256=digest)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return picture(data, digest, options)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, MemoryError, OverflowError) as error:
        return Kept(status.DAMAGED, " ".join(str(error).split())[:200], sha256=digest)


def picture(data: bytes, digest: str, options: Options) -> Kept:
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        if width * height > options.most_pixels:
            return Kept(status.TOO_MANY_PIXELS, f"{width} x {height} pixels", sha256=digest)
        kind = image.format or ""
        scale = options.size / min(width, height) if options.size else 1.0
        if scale >= 1 and kind in ("JPEG", "PNG", "WEBP"):
            image.load()  # a picture that breaks off is known now
            return Kept(status.OK, "", data, EXTENSIONS[Image.MIME[kind]], width, height, digest)
        to = (max(1, round(width * min(scale, 1))), max(1, round(height * min(scale, 1))))
        # a JPEG's decoder leaves out what would be thrown away, and colours stay as they are coded until they are coded again
        coded = kind == "JPEG" and image.mode == "RGB" and image.draft("YCbCr", to) is not None
        seen_through = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        drawn = image if coded and image.mode == "YCbCr" else image.convert("RGBA" if seen_through else "RGB")
        if drawn.size != to:
            drawn = drawn.resize(to, Image.Resampling.HAMMING)  # 1.5 times as fast as bicubic, and no halos
        drawn.load()  # one that needed nothing is read while it is open
    out = io.BytesIO()
    drawn.save(out, "WEBP" if seen_through else "JPEG", quality=options.quality)
    return Kept(status.OK, "", out.getvalue(), "webp" if seen_through else "jpg", *to, digest)
