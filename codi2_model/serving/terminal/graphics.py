"""Images in a terminal: by its graphics protocol, or by half blocks in true colour, or not at all.

The protocol is detected from the environment. A query to the terminal could hang the chat if it is not answered.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image

CHUNK = 4096  # characters of one kitty command
COLUMNS = 40  # width of an image in half blocks


def protocol(environment: Mapping[str, str] = os.environ, terminal: bool = True) -> str:
    """The protocol of the terminal: kitty, iterm2, sixel, blocks or none. CODI2_GRAPHICS overrides it."""
    program, name = environment.get("TERM_PROGRAM", ""), environment.get("TERM", "")
    if override := environment.get("CODI2_GRAPHICS"):
        return override if override in DRAWERS else "none"
    if not terminal or name == "dumb":
        return "none"
    if environment.get("KITTY_WINDOW_ID") or name == "xterm-kitty" or program in ("ghostty", "kitty"):
        return "kitty"
    if program in ("iTerm.app", "WezTerm", "mintty", "vscode"):
        return "iterm2"
    if "sixel" in name or name in ("mlterm", "foot", "foot-extra", "yaft-256color"):
        return "sixel"
    colours = environment.get("COLORTERM") in ("truecolor", "24bit") and not environment.get("NO_COLOR")
    return "blocks" if colours else "none"


def drawn(image: Image.Image, way: str) -> str:
    """The characters that show an image. Empty if `way` is `none`."""
    drawer = DRAWERS.get(way)
    return "" if drawer is None else drawer(image.convert("RGB"))


def kitty(image: Image.Image) -> str:
    data = _png(image)
    pieces = [data[n : n + CHUNK] for n in range(0, len(data), CHUNK)]
    made = []
    for n, piece in enumerate(pieces):
        head = "a=T,f=100,q=2," if n == 0 else ""
        made.append(f"\x1b_G{head}m={int(n < len(pieces) - 1)};{piece}\x1b\\")
    return "".join(made) + "\n"


def iterm2(image: Image.Image) -> str:
    return f"\x1b]1337;File=inline=1;width={min(image.width, 320)}px:{_png(image)}\x07\n"


def sixel(image: Image.Image) -> str:
    """Bands of six rows, with one pass for each colour of a palette of 64."""
    small = image.quantize(64)
    palette = small.getpalette() or []
    pixels = np.asarray(small)
    out = [f'\x1bPq"1;1;{image.width};{image.height}']
    for colour in range(len(palette) // 3):
        red, green, blue = (round(value * 100 / 255) for value in palette[colour * 3 : colour * 3 + 3])
        out.append(f"#{colour};2;{red};{green};{blue}")
    for top in range(0, image.height, 6):
        band = pixels[top : top + 6]
        weights = (1 << np.arange(len(band)))[:, None]
        for colour in np.unique(band):
            bits = ((band == colour) * weights).sum(axis=0) + 63
            out.append(f"#{colour}{bits.astype(np.uint8).tobytes().decode('ascii')}$")
        out.append("-")
    return "".join(out) + "\x1b\\\n"


def blocks(image: Image.Image) -> str:
    """Two pixels for each character: an upper half block with foreground and background colour."""
    width = min(COLUMNS, image.width)
    height = max(2, round(image.height * width / image.width) // 2 * 2)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    return "".join(_block_row(pixels[y], pixels[y + 1]) for y in range(0, height, 2))


def _block_row(upper: np.ndarray, lower: np.ndarray) -> str:
    def cells() -> Iterator[str]:
        for (r, g, b), (s, h, c) in zip(upper, lower, strict=True):
            yield f"\x1b[38;2;{r};{g};{b};48;2;{s};{h};{c}m▀"

    return "".join(cells()) + "\x1b[0m\n"


def _png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


DRAWERS = {"kitty": kitty, "iterm2": iterm2, "sixel": sixel, "blocks": blocks}
