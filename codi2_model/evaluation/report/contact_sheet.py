"""Contact sheet: one image with a row (prompt, output, truth) per item.

Audio is drawn as waveform and spectrogram, video as a strip of frames.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.signal import stft

from codi2_model.evaluation.metrics.motion import at_moments

PAD, LINE, TEXT = 10, 19, 14
COLUMNS = (("prompt", 620), ("output", 250), ("truth", 250))
INK, FAINT, RULE, PAPER, BAND = "#1d2330", "#6b7280", "#d9dde5", "#ffffff", "#f3f5f9"


class Row(Protocol):
    """Interface of a row, as `outputs.GenerationItem`."""

    @property
    def task(self) -> str: ...
    @property
    def prompt(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def output(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def truth(self) -> Sequence[Mapping[str, Any]] | None: ...
    @property
    def note(self) -> str: ...


@dataclass(frozen=True)
class Box:
    """A word or an image and its position in a cell."""

    x: int
    y: int
    item: str | Image.Image
    colour: str = INK


def contact_sheet(rows: Sequence[Row]) -> Image.Image:
    """Draw the sheet as an RGB image, with a header."""
    cells = []
    for row in rows:
        prompt: list[Any] = [("\n" + row.task + "\n", FAINT)]
        for message in row.prompt:
            prompt += [(message["role"] + ": ", FAINT), *_pieces(message["content"], 64), ("\n", INK)]
        note = [("\n" + row.note, FAINT)] if row.note else []
        truth = [("-", FAINT)] if row.truth is None else _pieces(row.truth, 112)
        contents = (prompt, [*_pieces(row.output, 112), *note], truth)
        cells.append([_flow(content, width - 2 * PAD) for content, (_, width) in zip(contents, COLUMNS, strict=True)])
    heights = [max(height for _, height in row) + 2 * PAD for row in cells]
    sheet = Image.new("RGB", (sum(width for _, width in COLUMNS), LINE + 2 * PAD + sum(heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((0, 0, sheet.width, LINE + 2 * PAD), fill=BAND)
    x = 0
    for name, width in COLUMNS:
        draw.text((x + PAD, PAD), name, font=_font(), fill=FAINT)
        x += width
    top = LINE + 2 * PAD
    for row_cells, height in zip(cells, heights, strict=True):
        draw.line((0, top, sheet.width, top), fill=RULE)
        x = 0
        for (boxes, _), (_, width) in zip(row_cells, COLUMNS, strict=True):
            for box in boxes:
                position = (x + PAD + box.x, top + PAD + box.y)
                if isinstance(box.item, str):
                    draw.text(position, box.item, font=_font(), fill=box.colour)
                else:
                    sheet.paste(box.item, position)
            x += width
        top += height
    return sheet


def _pieces(content: Sequence[Mapping[str, Any]], side: int) -> list[Any]:
    """Content parts as (text, colour) and images."""
    pieces: list[Any] = []
    for part in content:
        if part["type"] == "text":
            pieces.append((part["text"], INK))
        elif part["type"] == "image":
            pieces.append(part["value"].convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
        elif part["type"] == "video":
            pieces.append(video_strip(part["value"], side // 2 if side > 64 else side))
        else:
            pieces.append(audio_image(part["value"], 2 * side, side))
    return pieces or [("(nothing)", FAINT)]


def _flow(pieces: Sequence[Any], width: int) -> tuple[list[Box], int]:
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
