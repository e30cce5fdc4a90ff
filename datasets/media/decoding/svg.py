"""Renders SVG drawings to PNG at their final size with bundled fonts; nothing outside the file is read."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

from codi2_datasets.media import MediaError
from codi2_datasets.media.decoding.raster import one_line

MAX_SVG_DEPTH = 200  # nested elements: the renderer recurses

_ATTRIBUTES = rb"""(?:[^>"']|"[^"]*"|'[^']*')*?"""
_OUTSIDE_LINK = re.compile(
    rb"<(?:[\w-]+:)?(?:image|feImage)\b" + _ATTRIBUTES + rb"""\bhref\s*=\s*["']\s*(?!\#|data:)""", re.IGNORECASE
)
# on some paths with such large coordinates the renderer ends the whole process
_FAR = re.compile(
    rb"""\s(?:d|points|transform|viewBox|[xyr]|[xy][12]|[cr][xy]|width|height|stroke-width)\s*=\s*(?:"[^"]*?|'[^']*?)"""
    rb"""(?:(?<![\d.])\d{10}|\d[eE]\+?\d\d)"""
)
_ALL_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_TAG = re.compile(rb"<(/?)[A-Za-z][^\s/>]*" + _ATTRIBUTES + rb"(/?)>")


def render_svg(payload: bytes, size: int) -> bytes:
    """PNG of the drawing, as large as fits into `size` x `size`, with bundled fonts. Raises MediaError."""
    import resvg_py

    if _OUTSIDE_LINK.search(payload):
        raise MediaError("SVG: links to an image outside of itself")
    if leads_far(payload):
        raise MediaError("SVG: a coordinate of a billion and more")
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
    except BaseException as error:  # a panic of the renderer is not an Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise MediaError(f"SVG: {one_line(error)}") from error


def leads_far(payload: bytes) -> bool:
    """Whether a coordinate is a billion or more. The pattern is slow, and most drawings have no such digits."""
    digits = payload.translate(_ALL_DIGITS)
    return any(long in digits for long in (b"0" * 10, b"0e00", b"0e+00")) and _FAR.search(payload) is not None


def nesting(payload: bytes) -> int:
    """Maximum nesting depth of the elements of an XML document."""
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
    """DejaVu Sans, which ships with matplotlib, for every font: drawings with text look the same on every machine."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise RuntimeError("matplotlib, whose font is used for text in drawings, is not installed")
    file = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    families = ("font", "serif", "sans_serif", "cursive", "fantasy", "monospace")
    return {"font_files": [str(file)], **{f"{family}_family": "DejaVu Sans" for family in families}}
