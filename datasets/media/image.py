"""Pictures: any of SVG, PNG, JPEG, WebP, GIF, ... -> lossless square WebP on white, the same bytes for the same input.

Figures are for 64 px on one core: an SVG is rendered at its final size (1-2 ms, gradients 11 ms; twice the size and down
again takes 2.5 times as long, and resvg's own antialiasing is as good). WebP effort 1 takes 1.1 ms and 2.6 kB a picture,
effort 4 saves 6 % of that for three times the time.
"""

from __future__ import annotations

import importlib.util
import io
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from codi2_datasets.media import MediaError

MAX_PIXELS = 64_000_000  # of the picture as it came; more is taken for a decompression bomb
MAX_SVG_DEPTH = 200  # nested elements: the renderer recurses
WHITE = (255, 255, 255)

_ATTRIBUTES = rb"""(?:[^>"']|"[^"]*"|'[^']*')*?"""
_OUTSIDE_LINK = re.compile(
    rb"<(?:[\w-]+:)?(?:image|feImage)\b" + _ATTRIBUTES + rb"""\bhref\s*=\s*["']\s*(?!\#|data:)""", re.IGNORECASE
)
_TAG = re.compile(rb"<(/?)[A-Za-z][^\s/>]*" + _ATTRIBUTES + rb"(/?)>")


def normalise_image(payload: bytes, media_type: str, size: int = 64) -> bytes:
    """A `size` x `size` RGB picture as lossless WebP: whole, centred, aspect kept, transparency over white.

    Raises MediaError for what is corrupt, empty, too large, or links to files outside of itself.
    """
    raster = render_svg(payload, size) if media_type == "image/svg+xml" else payload
    return encode_image(fit(open_raster(raster), size))


def render_svg(payload: bytes, size: int) -> bytes:
    """PNG of the drawing, as large as fits into `size` x `size`. Fonts are our own, never the machine's."""
    import resvg_py

    if _OUTSIDE_LINK.search(payload):
        raise MediaError("SVG: links to a picture outside of itself")
    if (depth := nesting(payload)) > MAX_SVG_DEPTH:
        raise MediaError(f"SVG: elements nested {depth} deep, more than {MAX_SVG_DEPTH}")
    try:
        text = payload.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = payload.decode("latin-1")
    fonts = own_fonts() if b"<text" in payload else {}
    try:
        return bytes(
            resvg_py.svg_to_bytes(svg_string=text, width=size, height=size, dpi=96.0, skip_system_fonts=True, **fonts)
        )
    except ValueError as error:
        raise MediaError(f"SVG: {one_line(error)}") from error


def nesting(payload: bytes) -> int:
    """How deep the elements of an XML document go."""
    depth = deepest = 0
    for tag in _TAG.finditer(payload):
        if tag[1]:
            depth -= 1
        elif not tag[2]:
            depth += 1
            deepest = max(deepest, depth)
    return deepest


@cache
def own_fonts() -> dict[str, Any]:
    """DejaVu Sans, which comes with matplotlib, for every font: drawings with text look the same on every machine."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise RuntimeError("matplotlib, whose font is used for text in drawings, is not installed")
    file = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    families = ("font", "serif", "sans_serif", "cursive", "fantasy", "monospace")
    return {"font_files": [str(file)], **{f"{family}_family": "DejaVu Sans" for family in families}}


def open_raster(payload: bytes) -> Image.Image:
    """Decode a picture (the first, if it is animated), upright, as RGB on white. Raises MediaError."""
    try:
        with Image.open(io.BytesIO(payload)) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise MediaError(f"{width} x {height} pixels, more than {MAX_PIXELS:,}")
            if width == 0 or height == 0:
                raise MediaError("no pixels")
            picture.load()
            return over_white(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError as error:
        raise MediaError("not a picture of a known format") from error
    except MediaError:
        raise
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        Image.DecompressionBombError,
    ) as error:
        # the decoders of Pillow have no error of their own for damaged files
        raise MediaError(f"damaged picture: {one_line(error)}") from error


def over_white(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits a sample
        levels = np.clip(np.asarray(picture, dtype=np.float64) / 257.0, 0, 255)
        picture = Image.fromarray(np.rint(levels).astype(np.uint8), "L")
    if picture.mode == "RGB":
        return picture.copy()
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (*WHITE, 255)), layer).convert("RGB")


def fit(picture: Image.Image, size: int) -> Image.Image:
    """The whole picture in the middle of a white square, its longer side as long as the square's."""
    width, height = picture.size
    scale = size / max(width, height)
    target = max(1, round(width * scale)), max(1, round(height * scale))
    if picture.size != target:
        picture = picture.resize(target, Image.Resampling.LANCZOS)
    if target == (size, size):
        return picture
    square = Image.new("RGB", (size, size), WHITE)
    square.paste(picture, ((size - target[0]) // 2, (size - target[1]) // 2))
    return square


def encode_image(picture: Image.Image | np.ndarray) -> bytes:
    """Lossless WebP of an RGB picture or an (H, W, 3) uint8 array."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", lossless=True, quality=50, method=1)
    return buffer.getvalue()


def decode_image(data: bytes) -> Image.Image:
    """An RGB picture from its encoded bytes. Raises MediaError."""
    return open_raster(data)


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
