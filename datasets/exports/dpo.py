"""Preference pairs for TRL's DPO trainer: of the replies to one prompt, that with the best and that with the worst score.

The replies are those of `codi2 generate SHARDS --score BUILD`, run more than once with other seeds or checkpoints; scores are
the bench's. Columns are TRL's: `prompt`, `chosen` and `rejected` as messages, media of the prompt in `images`, `audios` and
`videos`, `score_chosen` and `score_rejected`. Media of the replies, which TRL has no column for, are in `chosen_media` and
`rejected_media`, in order.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

import pyarrow as pa

from codi2_datasets.exports import trl
from codi2_datasets.exports.base import Format, Item, Loss, Reading, roles_lost
from codi2_datasets.exports.generated import load_replies, replies_to
from codi2_datasets.exports.parquet import FILES, ROWS, read_rows, write_table
from codi2_datasets.formats.sample import Sample
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

SCORE = "score"  # in `meta` of a reply's sample
MEASURES = ("similarity", "soft_match")  # of the bench, one for media and one for text: higher is better, in one range
REPLIES = ("chosen", "rejected")
FEATURES = {
    **dict.fromkeys(("prompt", *REPLIES), trl.FEATURES["messages"]),
    **{name: trl.FEATURES[name] for name in trl.COLUMNS.values()},
    **{f"{name}_media": [{"bytes": {"dtype": "binary", "_type": "Value"}, "path": {"dtype": "string", "_type": "Value"}}]
       for name in REPLIES},
    **{f"score_{name}": {"dtype": "float64", "_type": "Value"} for name in REPLIES},
    "codi2": trl.FEATURES["codi2"],
}  # fmt: skip
SCHEMA = pa.schema(
    [*((name, pa.list_(trl.MESSAGE)) for name in ("prompt", *REPLIES)),
     *((name, pa.list_(trl.MEDIUM)) for name in trl.COLUMNS.values()),
     *((f"{name}_media", pa.list_(trl.MEDIUM)) for name in REPLIES),
     *((f"score_{name}", pa.float64()) for name in REPLIES), ("codi2", pa.string())],
    metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
)  # fmt: skip


def source(catalog: Catalog, build: str) -> Iterator[Item]:
    """The replies to prompts of a build, by prompt, with the bench's score in `meta` where there is one."""
    replies = replies_to(catalog, build)
    scores = catalog.sql(
        """select sample_id, avg(value) as score from scores
           where list_contains(?, metric) and list_contains(?, sample_id) group by 1""",
        [list(MEASURES), sorted({reply.sample_id for reply in replies})],
        all_builds=True,
    )
    by_id = {row["sample_id"]: row["score"] for row in scores.to_pylist()}
    for item in load_replies(replies):
        sample = item.sample
        score = by_id.get(sample.sample_id)
        yield item if score is None else replace(item, sample=replace(sample, meta={**sample.meta, SCORE: score}))


def write(items: Iterable[Item], store: Store) -> Loss:
    loss = Loss()
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    numbers = Counter[str]()

    def close(split: str) -> None:
        write_table(store, split, numbers[split], rows.pop(split), SCHEMA)
        numbers[split] += 1

    for _, group in groupby(items, key=lambda item: prompt_of(item.sample)):
        if (pair := best_and_worst(list(group), loss)) is None:
            continue
        split: str = pair[0].sample.split
        rows[split].append(row_of(*pair))
        if len(rows[split]) == ROWS:
            close(split)
    for split in sorted(rows):
        close(split)
    return loss


def prompt_of(sample: Sample) -> tuple[Any, ...]:
    return sample.meta.get("request_id"), sample.split, sample.messages[:-1]


def best_and_worst(replies: list[Item], loss: Loss) -> tuple[Item, Item] | None:
    """The pair of a prompt, or None; every reply is counted."""
    scored = sorted((item for item in replies if SCORE in item.sample.meta), key=lambda item: -item.sample.meta[SCORE])
    pair = (scored[0], scored[-1]) if scored and scored[0].sample.meta[SCORE] > scored[-1].sample.meta[SCORE] else None
    for item in replies:
        if SCORE not in item.sample.meta:
            loss.keep(item, "a reply without a score")
        elif pair is None:
            loss.keep(item, "the only reply to its prompt" if len(scored) == 1 else "replies of equal scores")
        elif loss.keep(item, None if item in pair else "neither the best reply nor the worst"):
            roles_lost(item.sample, loss, "split", "target")
    return pair


def row_of(chosen: Item, rejected: Item) -> dict[str, Any]:
    prompt = replace(chosen, sample=replace(chosen.sample, messages=chosen.sample.messages[:-1]))
    columns = trl.row_of(prompt)
    row = {"prompt": columns.pop("messages"), **columns}
    for name, item in zip(REPLIES, (chosen, rejected), strict=True):
        reply = item.sample.messages[-1]
        row |= {name: trl.messages_of([reply]), f"{name}_media": trl.media_of(item, [reply])}
        row[f"score_{name}"] = float(item.sample.meta[SCORE])
    samples = [chosen.sample.to_dict(), rejected.sample.to_dict()]
    return {**row, "codi2": json.dumps(samples, ensure_ascii=False)}


def read(store: Store, reading: Reading, loss: Loss) -> Iterator[Item]:
    def made(row: dict[str, Any], name: str, number: int) -> tuple[Item, ...]:
        return items_of(row, reading, loss, name.split("-")[0], f"{name}:{number}")

    for pair in read_rows(store, "dpo", loss, made):
        yield from pair


def items_of(row: dict[str, Any], reading: Reading, loss: Loss, split: str, place: str) -> tuple[Item, ...]:
    """The pair of a row, or, of another tool's row, its chosen conversation. Raises Unusable."""
    if not row.get("codi2"):
        loss.lost["rejected reply"] += 1
        return (
            trl.item_of({**row, "messages": [*(row.get("prompt") or []), *row["chosen"]]}, reading, loss, split, place),
        )
    shown = [entry for name in trl.COLUMNS.values() for entry in row[name]]
    items = []
    for name, data in zip(REPLIES, json.loads(row["codi2"]), strict=True):
        sample = Sample.from_dict(data)
        media = {entry["path"]: entry["bytes"] for entry in [*shown, *row[f"{name}_media"]]}
        items.append(Item(sample, {part.part: media[part.part] for part in sample.parts() if part.part}))
        loss.written += 1
    return tuple(items)


FORMAT = Format(
    "dpo",
    "Pairs of a chosen and a rejected reply of batch generation, for TRL's DPO trainer",
    FILES,
    write,
    read,
    source,
)
