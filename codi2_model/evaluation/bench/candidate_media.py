"""Candidates of a judge: their place in asset shards or samples, and their values."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codi2_datasets.media.samples import DECODE
from codi2_model.evaluation.data import SampleRow, load_samples
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store


@dataclass(frozen=True)
class CandidateMedium:
    """A candidate: its id, attributes, and location (asset shard, or part of a sample)."""

    asset_id: str
    modality: str
    concept: str | None
    family: str | None
    style: str | None
    shard: str | None
    offset: int | None
    size: int | None
    sample: SampleRow | None = None


def assets_of_concepts(catalog: Catalog, build: str | None, concepts: Sequence[str]) -> list[CandidateMedium]:
    """Images of asset shards with one of the concepts, ordered by id."""
    table = catalog.sql(
        """select asset_id, min(attributes) as attributes, any_value(shard) as shard, any_value("offset") as "offset",
                  any_value(bytes) as size
           from assets where modality = 'image' and shard is not null
                and list_contains(?, json_extract_string(attributes, '$.concept'))
           group by asset_id order by asset_id""",
        [list(concepts)],
        build=build,
    )
    media = []
    for row in table.to_pylist():
        values: dict[str, Any] = json.loads(row.pop("attributes"))
        attributes: dict[str, Any] = {name: values.get(name) for name in ("concept", "family", "style")}
        media.append(CandidateMedium(**row, **attributes, modality="image"))
    return media


def read_media(store: Store, media: Sequence[CandidateMedium]) -> dict[str, Any]:
    """asset id -> value of media in asset shards; each shard is opened once."""
    by_shard: dict[str, dict[str, CandidateMedium]] = defaultdict(dict)
    for medium in media:
        if medium.shard is not None and medium.offset is not None and medium.size is not None:
            by_shard[medium.shard][medium.asset_id] = medium
    values = {}
    for shard in sorted(by_shard):
        listed = list(by_shard[shard].values())
        ranges = [(m.offset or 0, (m.offset or 0) + (m.size or 0)) for m in listed]
        for medium, data in zip(listed, store.read_ranges(shard, ranges), strict=True):
            values[medium.asset_id] = DECODE[medium.modality](data)
    return values


def candidate_values(store: Store, media: Iterable[CandidateMedium], known: Mapping[str, Any]) -> dict[str, Any]:
    """asset id -> value: from `known`, from asset shards, or (derived media) from the reply of their sample."""
    missing = {medium.asset_id: medium for medium in media if medium.asset_id not in known}
    values = {**known, **read_media(store, list(missing.values()))}
    rest = {m.sample.sample_id: m.sample for i, m in missing.items() if i not in values and m.sample}
    for sample in load_samples(store, rest.values()).values():
        values |= {part["asset_id"]: part["value"] for part in sample.reply if part["type"] != "text"}
    return values
