"""Contact sheets: images of a task's samples, read from the shards and chosen at random by seed."""

from __future__ import annotations

import io
import tarfile
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from codi2_datasets.formats.hashing import digest
from codi2_datasets.formats.sample import SAMPLE_RATE, Part, Sample
from codi2_datasets.media.audio import decode_audio
from codi2_datasets.media.image import decode_image
from codi2_datasets.media.video import decode_video
from codi2_datasets.publishing.shards import Receipt
from codi2_storage.build_cache import BuildCache
from codi2_storage.store import Store

VERSION = "1"  # of how sheets are drawn
ROWS, TILE, PAD, TEXT_WIDTH = 10, 64, 8, 190
INK, FAINT, ACCENT, PAPER = (25, 25, 30), (120, 120, 130), (200, 60, 30), (255, 255, 255)


def draw_sheets(
    store: Store, build_id: str, tasks: Sequence[str], receipts: Sequence[Receipt], seed: int, cache: BuildCache
) -> list[str]:
    """One PNG per task, from its first test (or else train) shard. Returns their paths.

    It is drawn again only if its shard changed.
    """
    drawn = []
    for task in tasks:
        of_task = [receipt for receipt in receipts if receipt.shard.startswith(f"shards/{task}/")]
        chosen = next((r for r in of_task if "/test-" in r.shard), of_task[0] if of_task else None)
        if chosen is None:
            continue
        path = f"builds/{build_id}/sheets/{task}.png"
        key = digest(["sheet", VERSION, Image.__version__, task, chosen.sha256, ROWS, seed])
        sheet = partial(draw_sheet, store, task, chosen.shard, seed)
        store.write_bytes(path, cache.blob(key, sheet))
        drawn.append(path)
    return drawn


def draw_sheet(store: Store, task: str, shard: str, seed: int) -> bytes:
    """The sheet of one shard as PNG."""
    buffer = io.BytesIO()
    contact_sheet(task, read_samples(store.read_bytes(shard), ROWS, seed)).save(buffer, "PNG")
    return buffer.getvalue()


def read_samples(shard: bytes, number: int, seed: int) -> list[tuple[Sample, dict[str, bytes]]]:
    """Some samples of a shard with their media, by member name."""
    with tarfile.open(fileobj=io.BytesIO(shard)) as archive:
        content = {m.name: archive.extractfile(m).read() for m in archive.getmembers()}  # type: ignore[union-attr]
    keys = [name.removesuffix(".json") for name in content if name.endswith(".json")]
    picked = np.random.default_rng(seed).permutation(len(keys))[:number]
    chosen = []
    for key in (keys[i] for i in sorted(picked)):
        sample = Sample.from_json(content[f"{key}.json"])
        chosen.append((sample, {part.part: content[f"{key}.{part.part}"] for part in sample.parts() if part.part}))
    return chosen


def contact_sheet(task: str, samples: Sequence[tuple[Sample, dict[str, bytes]]]) -> Image.Image:
    """Samples as rows: texts and media in order, targets framed."""
    rows = [draw_sample(sample, media) for sample, media in samples]
    width = max([row.width for row in rows], default=400) + 2 * PAD
    height = sum(row.height + PAD for row in rows) + 40
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((PAD, 10), task.replace("_", " "), INK, font(18))
    top = 40
    for row in rows:
        sheet.paste(row, (PAD, top))
        top += row.height + PAD
        pen.line([(PAD, top - PAD // 2), (width - PAD, top - PAD // 2)], (225, 225, 230))
    return sheet


def draw_sample(sample: Sample, media: dict[str, bytes]) -> Image.Image:
    pieces = [draw_part(part, media.get(part.part or "")) for part in sample.parts()]
    height = max(piece.height for piece in pieces)
    row = Image.new("RGB", (sum(piece.width + PAD for piece in pieces), height), PAPER)
    left = 0
    for piece in pieces:
        row.paste(piece, (left, (height - piece.height) // 2))
        left += piece.width + PAD
    return row


def draw_part(part: Part, data: bytes | None) -> Image.Image:
    if part.type == "text":
        return draw_text(part.text or "", ACCENT if part.target else INK)
    picture = DRAW[part.type](data or b"")
    framed = Image.new("RGB", (picture.width + 4, picture.height + 4), ACCENT if part.target else (220, 220, 225))
    framed.paste(picture, (2, 2))
    return framed


def draw_text(text: str, colour: tuple[int, int, int]) -> Image.Image:
    lines = textwrap.wrap(text, 30)[:6] or [""]
    pen_font = font(12)
    width = int(max(pen_font.getlength(line) for line in lines)) + 2
    image = Image.new("RGB", (min(width, TEXT_WIDTH), 15 * len(lines) + 2), PAPER)
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        pen.text((0, 15 * number), line, colour, pen_font)
    return image


def draw_picture(data: bytes) -> Image.Image:
    return decode_image(data).resize((TILE, TILE), Image.Resampling.LANCZOS)


def draw_clip(data: bytes) -> Image.Image:
    """Four frames of a video side by side, from the first to the last."""
    frames = decode_video(data)
    strip = Image.new("RGB", (4 * TILE + 6, TILE), PAPER)
    for place, frame in enumerate(frames[i] for i in np.linspace(0, len(frames) - 1, 4).astype(int)):
        strip.paste(Image.fromarray(frame).resize((TILE, TILE), Image.Resampling.LANCZOS), (place * (TILE + 2), 0))
    return strip


def draw_sound(data: bytes) -> Image.Image:
    """A waveform of 0 to 5 seconds, one pixel column per segment of samples, with the duration."""
    sound = decode_audio(data)
    image = Image.new("RGB", (2 * TILE, TILE), (245, 247, 250))
    pen = ImageDraw.Draw(image)
    seconds = len(sound) / SAMPLE_RATE
    columns = max(1, min(2 * TILE, int(2 * TILE * seconds / 5)))
    for x, piece in enumerate(np.array_split(sound, columns)):
        peak = float(np.abs(piece).max()) if piece.size else 0.0
        half = max(0.5, peak * TILE / 2)
        pen.line([(x, TILE / 2 - half), (x, TILE / 2 + half)], (40, 90, 160))
    pen.text((4, TILE - 14), f"{seconds:.1f} s", FAINT, font(10))
    return image


DRAW = {"image": draw_picture, "audio": draw_sound, "video": draw_clip}


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font with glyphs for all captions: the one that ships with matplotlib."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)
