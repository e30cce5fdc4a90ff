"""Hugging Face: a folder for `load_dataset(folder, TASK)` and for upload to the hub. Lossless.

A config per task, with Parquet files of its splits in the folder TASK, and a dataset card. Rows are those of `trl` with every
field of the sample; images, audio and video are declared as features, so `datasets` and the hub's viewer decode them.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import yaml

from codi2_datasets.exports import trl
from codi2_datasets.exports.base import Format, Item, Loss, Reading
from codi2_datasets.exports.parquet import read_rows, write_rows
from codi2_datasets.formats.sample import SAMPLE_RATE, SPLITS, Sample
from codi2_storage.store import Store

PART = pa.struct(
    [("type", pa.string()), ("text", pa.string()), ("asset_id", pa.string()), ("icl_role", pa.string()),
     ("target", pa.bool_())]
)  # fmt: skip
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.list_(PART))])
FIELDS = ("sample_id", "task", "holdout", "licence", "seed", "meta")
MEDIA = {"images": "Image", "audios": "Audio", "videos": "Video"}
STRING, INT, BOOL = ({"dtype": dtype, "_type": "Value"} for dtype in ("string", "int64", "bool"))
FEATURES = {
    **{field: INT if field == "seed" else STRING for field in FIELDS},
    "messages": [{"role": STRING, "content": [{**dict.fromkeys(PART.names[:-1], STRING), "target": BOOL}]}],
    "images": {"feature": {"_type": "Image"}, "_type": "List"},
    "audios": {"feature": {"sampling_rate": SAMPLE_RATE, "_type": "Audio"}, "_type": "List"},
    "videos": {"feature": {"_type": "Video"}, "_type": "List"},
    "codi2": STRING,
}
SCHEMA = pa.schema(
    [*((field, pa.int64() if field == "seed" else pa.string()) for field in FIELDS), ("messages", pa.list_(MESSAGE)),
     *((name, pa.list_(trl.MEDIUM)) for name in MEDIA), ("codi2", pa.string())],
    metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
)  # fmt: skip
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
CARD = """---
{front}---

# CoDi-2, open: in-context, interleaved, multimodal instructions

{samples:,} samples of {tasks} tasks, a config per task:

```python
import datasets

rows = datasets.load_dataset("PATH/OR/NAME", "{first}", split="{split}")
print(rows[0]["messages"], rows[0]["images"])
```

| task | {head} |
|---|{rule}
{counts}

## Columns

| column | holds |
|---|---|
| `messages` | turns: `role` and `content`, a list of parts {{type, text, asset_id, icl_role, target}} |
| `images`, `audios`, `videos` | the media; a part without text is the next entry of its modality's column |
| `licence` | the strictest licence of the works that the sample shows |
| `meta`, `holdout`, `seed` | attributes of the target (JSON), why the sample is held out, seed of its plan |
| `codi2` | the whole sample as JSON, for `codi2 import --format hf` |

`icl_role` is demo_input, demo_output, query or target; `target` marks the parts that the loss is on.

## Licences

{licences}

Works and their authors: ATTRIBUTION in this folder.
"""


def write(items: Iterable[Item], store: Store) -> Loss:
    loss, licences = Loss(), Counter[str]()
    counts: dict[str, Counter[str]] = defaultdict(Counter)

    def counted() -> Iterator[Item]:
        for item in items:
            loss.keep(item, None)
            counts[item.sample.task][item.sample.split] += 1
            licences[item.sample.licence] += 1
            yield item

    write_rows(counted(), store, SCHEMA, row_of, lambda sample: f"{sample.task}/{sample.split}")
    store.write_bytes("README.md", card(counts, licences).encode())
    return loss


def row_of(item: Item) -> dict[str, Any]:
    sample = item.sample
    fields = {field: getattr(sample, field) for field in FIELDS}
    fields["meta"] = json.dumps(sample.meta, ensure_ascii=False)
    return {**trl.row_of(item), **fields, "messages": messages_of(sample)}


def messages_of(sample: Sample) -> list[dict[str, Any]]:
    """Rows of MESSAGE."""
    return [
        {
            "role": message.role,
            "content": [{name: getattr(part, name) for name in PART.names} for part in message.content],
        }
        for message in sample.messages
    ]


def card(counts: dict[str, Counter[str]], licences: Counter[str]) -> str:
    """The dataset card: configs and licences in the front matter, then what the folder holds."""
    total = licences.total()
    splits = [split for split in SPLITS if any(counts[task][split] for task in counts)]
    first = min(counts, default="none")
    front = {
        "pretty_name": "CoDi-2, open",
        "license": "other" if len(licences) != 1 else next(iter(licences)).lower(),
        "size_categories": [next((name for most, name in SIZES if total < most), "1M<n<10M")],
        "tags": ["in-context-learning", "interleaved", "any-to-any"],
        "configs": [
            {"config_name": task, "data_files": [
                {"split": split, "path": f"{task}/{split}-*.parquet"} for split in splits if counts[task][split]]}
            for task in sorted(counts)
        ],
    }  # fmt: skip
    return CARD.format(
        front=yaml.safe_dump(front, sort_keys=False),
        samples=total,
        tasks=len(counts),
        first=first,
        split=next((split for split in splits if counts[first][split]), "train"),
        head=" | ".join(splits),
        rule="---|" * len(splits),
        counts="\n".join(
            f"| {task} | " + " | ".join(f"{counts[task][split]:,}" for split in splits) + " |"
            for task in sorted(counts)
        ),
        licences="\n".join(f"- {licence}: {number:,} samples" for licence, number in sorted(licences.items())),
    )


def read(store: Store, reading: Reading, loss: Loss) -> Iterator[Item]:
    def made(row: dict[str, Any], name: str, number: int) -> Item:
        split = name.rpartition("/")[2].split("-")[0]
        return trl.item_of(row, reading, loss, split, f"{name}:{number}")

    return read_rows(store, "hf", loss, made)


FILES = r"README\.md|[a-z_]+/(train|validation|test)-\d{5,}\.parquet"
FORMAT = Format("hf", "Folder for Hugging Face's load_dataset, with a config per task and a card", FILES, write, read)
