"""Write generations as media files, an HTML page and a contact sheet, in a self-contained folder.

    <out>/index.html           the prompts as conversations, each output next to the truth
    <out>/contact_sheet.png    an overview
    <out>/media/<item>-<p|o|t><n>.png|wav|mp4

Every file is written atomically, the page last.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.media.contact_sheet import FAINT, Content, Piece, contact_sheet, content_pieces, prompt_pieces
from codi2_datasets.media.video import encode_video
from codi2_model.modules.media import VIDEO_FPS
from codi2_storage.locations.files import write_whole
from codi2_storage.store import Store

COLUMNS = {"prompt": 620, "output": 250, "truth": 250}  # pixels


@dataclass(frozen=True)
class GenerationItem:
    """A generation. prompt: messages. truth: the reply in the dataset, if any."""

    item_id: str
    task: str
    prompt: Sequence[Mapping[str, Any]]
    output: Content
    truth: Content | None = None
    note: str = ""


@dataclass(frozen=True)
class Written:
    """Paths of the files that `write_generations` has written."""

    page: Path
    contact_sheet: Path
    media: list[Path]


def write_generations(
    out_dir: str | Path,
    items: Sequence[GenerationItem],
    title: str = "Generations",
    tables: Sequence[Mapping[str, Any]] = (),
    sheet_rows: int = 24,
) -> Written:
    """Write the folder. tables: {"title", "columns", "rows"}, shown above the conversations.

    sheet_rows: items on the contact sheet, evenly over the tasks. Raises ValueError for two items with equal file names.
    """
    folder = Path(out_dir)
    names = [_file_name(item.item_id) for item in items]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ValueError(f"two items have the file name {duplicates[0]!r}; item ids must differ")
    (folder / "media").mkdir(parents=True, exist_ok=True)
    media: list[Path] = []

    def save(content: Content, prefix: str) -> list[dict[str, Any]]:
        """Write media to files. Returns the parts with relative links instead of values."""
        parts: list[dict[str, Any]] = []
        for n, part in enumerate(content):
            if part["type"] == "text":
                parts.append({"type": "text", "text": part["text"]})
                continue
            data, extension = encode_medium(part["type"], part["value"])
            path = folder / "media" / f"{prefix}{n}.{extension}"
            write_whole(path, data)
            media.append(path)
            parts.append({"type": part["type"], "src": f"media/{path.name}", "icl_role": part.get("icl_role") or ""})
        return parts

    page_items = []
    for item, name in zip(items, names, strict=True):
        messages = [
            {"role": message["role"], "parts": save(message["content"], f"{name}-p{turn}.")}
            for turn, message in enumerate(item.prompt)
        ]
        output = save(item.output, f"{name}-o")
        truth = None if item.truth is None else save(item.truth, f"{name}-t")
        fields = {"id": item.item_id, "task": item.task, "note": item.note}
        page_items.append({**fields, "messages": messages, "output": output, "truth": truth})
    sheet = folder / "contact_sheet.png"
    write_whole(sheet, sheet_of(evenly(items, sheet_rows)))
    page = folder / "index.html"
    tasks = sorted({item.task for item in items})
    write_whole(
        page, render_page("generations.html", title=title, items=page_items, tasks=tasks, tables=list(tables)).encode()
    )
    return Written(page, sheet, media)


def put_generations(
    store: Store, name: str, items: Sequence[GenerationItem], title: str, tables: Sequence[Mapping[str, Any]] = ()
) -> str:
    """As `write_generations`, into the folder `name` of a store. Returns the URI of the page."""
    with tempfile.TemporaryDirectory(prefix="codi2-evaluation-") as folder:
        write_generations(folder, items, title, tables)
        store.put_folder(folder, name)
    return store.uri(f"{name}/index.html")


def sheet_of(items: Sequence[GenerationItem]) -> bytes:
    """The contact sheet of the items, as PNG."""
    rows = []
    for item in items:
        note: list[Piece] = [("\n" + item.note, FAINT)] if item.note else []
        truth: list[Piece] = [("-", FAINT)] if item.truth is None else content_pieces(item.truth)
        rows.append([prompt_pieces(item.task, item.prompt), [*content_pieces(item.output), *note], truth])
    return encode_medium("image", contact_sheet(COLUMNS, rows))[0]


def evenly(items: Sequence[GenerationItem], count: int) -> list[GenerationItem]:
    """`count` items, evenly over the tasks, ordered by task."""
    rank: dict[str, int] = {}
    keyed = []
    for position, item in enumerate(items):
        rank[item.task] = rank.get(item.task, -1) + 1
        keyed.append((rank[item.task], position, item))
    chosen = sorted(keyed, key=lambda entry: entry[:2])[:count]
    return [item for _, _, item in sorted(chosen, key=lambda entry: (entry[2].task, entry[1]))]


def render_page(name: str, **values: Any) -> str:
    """Render a template beside this package, with all values escaped."""
    templates = PackageLoader("codi2_model", "evaluation")
    environment = Environment(
        loader=templates, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name).render(**values)


def encode_medium(modality: str, value: Any) -> tuple[bytes, str]:
    """Encode a medium as PNG, 16-bit WAV or MP4. Returns (bytes, file extension)."""
    buffer = io.BytesIO()
    if modality == "image":
        value.save(buffer, format="PNG")
        return buffer.getvalue(), "png"
    if modality == "audio":
        soundfile.write(buffer, clipped(value), SAMPLE_RATE, format="WAV", subtype="PCM_16")
        return buffer.getvalue(), "wav"
    if modality == "video":
        return encode_video(even_sides(value), VIDEO_FPS), "mp4"
    raise ValueError(f"no file format for {modality!r}, expected image, audio or video")


def even_sides(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) with the last row or column repeated to make sides even, as MP4 needs."""
    height, width = frames.shape[1:3]
    return np.pad(frames, [(0, 0), (0, height % 2), (0, width % 2), (0, 0)], mode="edge")


def clipped(wave: Any) -> NDArray[np.float32]:
    """A mono waveform clipped to [-1, 1]; non-finite values become 0."""
    return np.clip(np.nan_to_num(np.asarray(wave, np.float32).reshape(-1)), -1.0, 1.0)


def _file_name(item_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", item_id)[:120] or "item"
