"""Contact sheet: one image with a row per item, such as prompt, output and truth.

Audio is drawn as waveform and spectrogram, video as a strip of frames.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from codi2_datasets.media.video import at_moments

PAD, LINE, TEXT = 10, 19, 14
SMALL, LARGE = 64, 112  # pixels of an image's side in a prompt and in a reply
INK, FAINT, RULE, PAPER, BAND = "#1d2330", "#6b7280", "#d9dde5", "#ffffff", "#f3f5f9"


Piece = tuple[str, str] | Image.Image
"""A text with its colour, or an image."""
Content = Sequence[Mapping[str, Any]]
"""Parts: {"type": "text", "text"} | {"type": "image" | "audio" | "video", "value"}."""


@dataclass(frozen=True)
class Box:
    """A word or an image and its position in a cell."""

    x: int
    y: int
    item: str | Image.Image
    colour: str = INK


def contact_sheet(columns: Mapping[str, int], rows: Sequence[Sequence[Sequence[Piece]]]) -> Image.Image:
    """Draw a table as an RGB image: a row has a cell, that is a list of pieces, per column. `columns`: titles and widths."""
    widths = list(columns.values())
    cells = [[_flow(cell, width - 2 * PAD) for cell, width in zip(row, widths, strict=True)] for row in rows]
    heights = [max(height for _, height in row) + 2 * PAD for row in cells]
    sheet = Image.new("RGB", (sum(widths), LINE + 2 * PAD + sum(heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((0, 0, sheet.width, LINE + 2 * PAD), fill=BAND)
    x = 0
    for name, width in columns.items():
        draw.text((x + PAD, PAD), name, font=_font(), fill=FAINT)
        x += width
    top = LINE + 2 * PAD
    for row_cells, height in zip(cells, heights, strict=True):
        draw.line((0, top, sheet.width, top), fill=RULE)
        x = 0
        for (boxes, _), width in zip(row_cells, widths, strict=True):
            for box in boxes:
                position = (x + PAD + box.x, top + PAD + box.y)
                if isinstance(box.item, str):
                    draw.text(position, box.item, font=_font(), fill=box.colour)
                else:
                    sheet.paste(box.item, position)
            x += width
        top += height
    return sheet


def prompt_pieces(task: str, messages: Sequence[Mapping[str, Any]]) -> list[Piece]:
    """The task, and the messages with their roles."""
    pieces: list[Piece] = [("\n" + task + "\n", FAINT)]
    for message in messages:
        pieces += [(message["role"] + ": ", FAINT), *content_pieces(message["content"], SMALL), ("\n", INK)]
    return pieces


def content_pieces(content: Content, side: int = LARGE) -> list[Piece]:
    """Content parts as texts and images, the images `side` pixels high."""
    pieces: list[Piece] = []
    for part in content:
        if part["type"] == "text":
            pieces.append((part["text"], INK))
        elif part["type"] == "image":
            pieces.append(part["value"].convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
        elif part["type"] == "video":
            pieces.append(video_strip(part["value"], side // 2 if side > SMALL else side))
        else:
            pieces.append(audio_image(part["value"], 2 * side, side))
    return pieces or [("(nothing)", FAINT)]


def _flow(pieces: Sequence[Piece], width: int) -> tuple[list[Box], int]:
    """Lay out words and images from left to right with line breaks. Returns the boxes and the height."""
    boxes: list[Box] = []
    line: list[tuple[int, str | Image.Image, str]] = []
    x = y = 0

    def end_line() -> None:
        nonlocal x, y
        height = max([LINE, *(item.height + 4 for _, item, _ in line if not isinstance(item, str))])
        for left, item, colour in line:
            down = (height - LINE) // 2 if isinstance(item, str) else (height - item.height) // 2
            boxes.append(Box(left, y + down, item, colour))
        x, y = 0, y + (height if line else 0)
        line.clear()

    def place(item: str | Image.Image, size: int, colour: str = INK) -> None:
        nonlocal x
        if line and x + size > width:
            end_line()
        line.append((x, item, colour))
        x += size

    for piece in pieces:
        if isinstance(piece, Image.Image):
            place(piece, piece.width + 6)
            continue
        text, colour = piece
        for n, row in enumerate(text.split("\n")):
            if n:
                end_line()
            for word in row.split():
                cut = _fitted(word, width)
                place(cut, int(_font().getlength(cut + " ")) + 1, colour)
    end_line()
    return boxes, y


def _fitted(word: str, width: int) -> str:
    """The word, truncated with dots to the width of a line."""
    if _font().getlength(word) <= width:
        return word
    prefix = word[:200]
    while prefix and _font().getlength(prefix + "...") > width:
        prefix = prefix[:-1]
    return prefix + "..."


def video_strip(frames: NDArray[np.uint8], side: int, count: int = 4) -> Image.Image:
    """Evenly spaced frames side by side, including the first and the last, drawn as a film strip."""
    rim = max(2, side // 12)
    strip = Image.new("RGB", (count * side, side + 2 * rim), "#0f172a")
    for n, frame in enumerate(at_moments(frames, count)):
        strip.paste(Image.fromarray(frame).resize((side - 2, side), Image.Resampling.BICUBIC), (n * side + 1, rim))
    draw = ImageDraw.Draw(strip)
    for x in range(rim, strip.width, 4 * rim):
        for y in (rim // 4, side + rim + rim // 4):
            draw.rectangle((x, y, x + rim, y + rim // 2), fill="#94a3b8")
    return strip


def audio_image(wave: NDArray[np.floating], width: int, height: int) -> Image.Image:
    """Waveform (upper third) above the log spectrogram up to 8 kHz over 80 dB, with time to the right."""
    from scipy.signal import stft  # takes as long to import as the rest of a build

    wave = np.nan_to_num(np.asarray(wave, np.float32).reshape(-1))
    image = Image.new("RGB", (width, height), "#0f172a")
    if len(wave) < 2:
        return image
    top = height // 3
    _, _, spectrum = stft(wave, nperseg=min(512, len(wave)), noverlap=None)
    level = 20 * np.log10(np.abs(spectrum) + 1e-6)
    shade = np.clip((level + 100) / 80, 0, 1)[::-1]
    colours = np.stack([255 * shade**0.8, 255 * shade**1.6, 80 + 100 * shade * (1 - shade) * 4], -1).astype(np.uint8)
    scaled = Image.fromarray(colours, "RGB").resize((width, height - top), Image.Resampling.BILINEAR)
    image.paste(scaled, (0, top))
    draw = ImageDraw.Draw(image)
    edges = np.linspace(0, len(wave), width + 1).astype(int)
    middle = top / 2
    for x in range(width):
        piece = wave[edges[x] : max(edges[x + 1], edges[x] + 1)]
        if len(piece):
            high, low = middle - float(piece.max()) * middle * 0.9, middle - float(piece.min()) * middle * 0.9
            draw.line((x, max(0.0, high), x, min(float(top), low)), fill="#7dd3fc")
    return image


@lru_cache(maxsize=1)
def _font() -> Any:
    """DejaVu Sans from matplotlib, which covers most scripts; else the default font of Pillow."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), TEXT)
    return ImageFont.load_default(TEXT)
