"""Contact sheets of a build: prompts and replies of a task's samples, read from the shards and chosen at random by seed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial

import numpy as np
from PIL import Image

from codi2_datasets.formats.hashing import digest
from codi2_datasets.formats.sample import Sample
from codi2_datasets.media.contact_sheet import Piece, contact_sheet, content_pieces, prompt_pieces
from codi2_datasets.media.samples import conversation, members_by_sample
from codi2_datasets.publishing.shards import Receipt
from codi2_storage.build_cache import BuildCache
from codi2_storage.store import Store

VERSION = "1"  # of how sheets are drawn
ROWS = 10
COLUMNS = {"prompt": 620, "reply": 250}  # pixels


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
    samples = read_samples(store.read_bytes(shard), ROWS, seed)
    contact_sheet(COLUMNS, [sheet_row(task, sample, media) for sample, media in samples]).save(buffer, "PNG")
    return buffer.getvalue()


def read_samples(shard: bytes, number: int, seed: int) -> list[tuple[Sample, dict[str, bytes]]]:
    """Some samples of a shard with their media, by member name."""
    content = list(members_by_sample(io.BytesIO(shard)))
    picked = np.random.default_rng(seed).permutation(len(content))[:number]
    chosen = []
    for _, members in (content[i] for i in sorted(picked)):
        sample = Sample.from_json(members["json"])
        chosen.append((sample, {part.part: members[part.part] for part in sample.parts() if part.part}))
    return chosen


def sheet_row(task: str, sample: Sample, media: dict[str, bytes]) -> list[list[Piece]]:
    """Prompt and reply of a sample."""
    *prompt, reply = conversation(sample, media)
    return [prompt_pieces(task, prompt), content_pieces(reply["content"])]
