"""Contact sheets of a build: prompts and replies of a task's samples, read from the shards and chosen at random by seed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from codi2_datasets.formats.sample import Part, Sample
from codi2_datasets.media.audio import decode_audio
from codi2_datasets.media.contact_sheet import Piece, contact_sheet, content_pieces, prompt_pieces
from codi2_datasets.media.image import decode_image
from codi2_datasets.media.video import decode_video
from codi2_storage.store import Store

ROWS = 10
COLUMNS = {"prompt": 620, "reply": 250}  # pixels
DECODE: dict[str, Callable[[bytes], Any]] = {"image": decode_image, "audio": decode_audio, "video": decode_video}


def draw_sheets(store: Store, build_id: str, tasks: Sequence[str], shards: Sequence[str], seed: int) -> list[str]:
    """One PNG per task, from its first test (or else train) shard. Returns their paths."""
    drawn = []
    for task in tasks:
        of_task = [s for s in shards if s.startswith(f"shards/{task}/")]
        chosen = next((s for s in of_task if "/test-" in s), of_task[0] if of_task else None)
        if chosen is None:
            continue
        path = f"builds/{build_id}/sheets/{task}.png"
        samples = read_samples(store.read_bytes(chosen), ROWS, seed)
        sheet = contact_sheet(COLUMNS, [sheet_row(task, sample, media) for sample, media in samples])
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG")
        store.write_bytes(path, buffer.getvalue())
        drawn.append(path)
    return drawn


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


def sheet_row(task: str, sample: Sample, media: dict[str, bytes]) -> list[list[Piece]]:
    """Prompt and reply of a sample."""
    messages = [
        {"role": message.role, "content": [decoded(part, media.get(part.part or "", b"")) for part in message.content]}
        for message in sample.messages
    ]
    return [prompt_pieces(task, messages[:-1]), content_pieces(messages[-1]["content"])]


def decoded(part: Part, data: bytes) -> dict[str, Any]:
    if part.type == "text":
        return {"type": "text", "text": part.text or ""}
    return {"type": part.type, "value": DECODE[part.type](data)}
