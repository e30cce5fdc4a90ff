"""The page of a batch: the first replies as media files, an HTML page and a contact sheet."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codi2_datasets.formats.sample import Sample
from codi2_datasets.media.samples import conversation, members_by_sample
from codi2_model.evaluation.report.outputs import GenerationItem, write_generations
from codi2_model.serving.batch.request_files import RequestRow
from codi2_storage.store import Store

MOST = 200  # replies on the page


def write_page(store: Store, rows: Sequence[RequestRow], receipts: Sequence[Mapping[str, Any]]) -> str:
    """Write the page under `store`. Returns its URI."""
    items: list[GenerationItem] = []
    for receipt in receipts:
        if len(items) >= MOST:
            break
        items += shard_items(store, receipt)
    count = sum(len(receipt["rows"]) for receipt in receipts)
    title = "Generations" if count <= MOST else f"Generations: the first {MOST} of {count:,}"
    local = store.local_path("")
    if local:
        return str(write_generations(local.rstrip("/"), items[:MOST], title).page)
    with tempfile.TemporaryDirectory(prefix="codi2-generate-") as made:
        write_generations(made, items[:MOST], title)
        for file in sorted(path for path in Path(made).rglob("*") if path.is_file()):
            store.write_bytes(str(file.relative_to(made)), file.read_bytes())
    return store.uri("index.html")


def shard_items(store: Store, receipt: Mapping[str, Any]) -> list[GenerationItem]:
    """The rows of a chunk: answered ones with their media, failed ones with their reasons."""
    members = dict(members_by_sample(io.BytesIO(store.read_bytes(receipt["shard"]))))
    items = []
    for row in receipt["rows"]:
        if row["status"] == "failed":
            prompt = [{"role": "user", "content": [{"type": "text", "text": row["prompt"]}]}]
            items.append(GenerationItem(row["id"], "failed", prompt, [], None, row["reason"]))
            continue
        own = members[row["sample_id"]]
        sample = Sample.from_json(own["json"])
        *prompt, reply = conversation(sample, own)
        items.append(GenerationItem(row["id"], sample.task, prompt, reply["content"]))
    return items
