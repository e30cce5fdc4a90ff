"""Shards: samples copied from a shard of an earlier build give the bytes of a shard that is written anew."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_datasets.formats.hashing import digest, sha256
from codi2_datasets.media.image import encode_image
from codi2_datasets.publishing import shards
from codi2_datasets.publishing.shards import Receipt, ShardPlan, read_receipt, write_shard
from codi2_storage.store import Store

MEMBERS = ("001.webp", "002.webp")


@cache
def picture(number: int) -> bytes:
    return encode_image(np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8))


def turned(number: int) -> dict[str, Any]:
    """A picture of a sample that is made of another."""
    params = json.dumps({"quarters": 1})
    made = {"op": "rotate", "params": params, "inputs": [sha256(picture(number))]}
    return {"asset_id": digest(made), "modality": "image", "shard": None, "offset": 0, "bytes": 0, **made}


def plan(store: Store, name: str, numbers: list[int], earlier: str | None = None, licence: str = "MIT") -> ShardPlan:
    """Sample n shows picture n, an odd one the same picture turned as well; every third is under `licence`."""
    samples, parts, media = [], [], {}
    for number in sorted(set(numbers), key=lambda n: sha256(str(n))):
        key = sha256(str(number))[:32]
        own = licence if number % 3 == 0 else "MIT"
        samples.append({"sample_id": key, "task": "t", "split": "train", "holdout": "", "licence": own, "seed": number,
                        "meta": "{}"})  # fmt: skip
        data = picture(number)
        store.write_bytes(f"assets/{number}.bin", data)
        shown = [{"asset_id": sha256(data), "modality": "image", "shard": f"assets/{number}.bin", "offset": 0,
                  "bytes": len(data), "op": None, "params": "{}", "inputs": []}]  # fmt: skip
        shown += [turned(number)] if number % 2 else []
        media |= {row["asset_id"]: row for row in shown}
        texts = [{"modality": "text", "text": f"number {number}", "asset_id": None}]
        rows = [*texts, *({"modality": "image", "text": None, "asset_id": row["asset_id"]} for row in shown)]
        for position, row in enumerate(rows):
            parts.append({"sample_id": key, "position": position, "turn": 0, "role": "user", "icl_role": None,
                          "target": False, **row})  # fmt: skip
    tables = [pa.Table.from_pylist(rows) for rows in (samples, parts, [media[name] for name in sorted(media)])]
    return ShardPlan(store, name, *tables, MEMBERS, earlier)


NUMBERS = st.lists(st.integers(0, 19), min_size=1, max_size=14)


@settings(max_examples=20, deadline=None)
@given(NUMBERS, NUMBERS, st.sampled_from(["MIT", "CC0-1.0"]))
def test_copied_samples_give_the_bytes_of_a_shard_written_anew(before: list[int], now: list[int], licence: str) -> None:
    folder = f"memory://shards-{digest([before, now, licence])}"
    store, fresh = Store(folder), Store(f"{folder}-fresh")
    write_shard(plan(store, "shards/t/train-00000-old.tar", before))
    copied = write_shard(plan(store, "shards/t/train-00000-new.tar", now, "shards/t/train-00000-old.tar", licence))
    anew = write_shard(plan(fresh, "shards/t/train-00000-new.tar", now, None, licence))
    assert copied == anew and not copied.failed
    assert store.read_bytes(copied.shard) == fresh.read_bytes(copied.shard)


def gathered(monkeypatch: pytest.MonkeyPatch, plan_: ShardPlan) -> tuple[Receipt, int]:
    """The receipt, and how many media were read outside shards."""
    read: list[Any] = []
    real = shards.gather
    monkeypatch.setattr(shards, "gather", lambda store, media: read.extend(media) or real(store, media))
    return write_shard(plan_), len(read)


def test_only_what_changed_is_read_and_made_again(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store, old = Store(tmp_path), "shards/t/train-00000-old.tar"
    write_shard(plan(store, old, list(range(12))))
    _, read = gathered(monkeypatch, plan(store, "shards/t/train-00000-new.tar", [*range(1, 12), 15], old))
    assert 0 < read < 12 - 5  # the first five are padded: they may be written anew


def test_an_earlier_shard_that_is_damaged_or_missing_is_not_used(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, old = Store(tmp_path), "shards/t/train-00000-old.tar"
    whole = write_shard(plan(store, old, list(range(12))))
    data = bytearray(store.read_bytes(old))
    data[len(data) // 2] ^= 1
    store.write_bytes(old, bytes(data))
    again, read = gathered(monkeypatch, plan(store, "shards/t/train-00000-new.tar", list(range(12)), old))
    assert (again.sha256, read) == (whole.sha256, 12)
    gone, read = gathered(monkeypatch, plan(store, "shards/t/train-00000-newer.tar", list(range(12)), "shards/no.tar"))
    assert (gone.sha256, read) == (whole.sha256, 12)
    assert read_receipt(store, gone.shard) == gone
