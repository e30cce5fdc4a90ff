"""Candidates of a judge: the true target, and others that differ from it in one property.

- concept: other test targets in the same style (audio: of the same task), of other families.
- style: the same concept in other styles.

The truth is first in every list. The order does not affect the ranking of a judge, because ties count as wrong.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codi2_model.evaluation.data import SampleRow, by_hash, decode, load_samples
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

POOL_FACTOR = 3  # size of a pool relative to k, so that enough of its media have another family


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


class Candidates:
    """Candidate lists for picked samples of a build; equal seeds give equal lists."""

    def __init__(
        self, catalog: Catalog, build: str | None, rows: Sequence[SampleRow], seed: int, k: int = 10, styles: int = 5
    ) -> None:
        """k: candidates of the question concept. styles: candidates of the question style."""
        self.k, self.n_styles, self.seed = k, styles, seed
        self._catalog, self._build = catalog, build
        self.targets = _targets(catalog, build, rows)
        self._pools = self._concept_pools()

    def concept(self, sample_id: str) -> list[CandidateMedium]:
        """The truth and up to k - 1 test targets of other families."""
        truth = self.targets[sample_id]
        task = self._task(truth)
        pools = [self._pools[_pool_key(truth, task)], self._pools[(truth.modality, task)]]
        chosen, seen = [truth], {truth.asset_id}
        for other in (medium for pool in pools for medium in pool):
            if len(chosen) == self.k:
                break
            if other.asset_id not in seen and _differs(other, truth):
                chosen.append(other)
                seen.add(other.asset_id)
        return chosen

    def styles(self, sample_ids: Sequence[str]) -> dict[str, list[CandidateMedium]]:
        """The truth and images of the same concept in other styles, for samples that have any."""
        truths = {i: self.targets[i] for i in sample_ids if i in self.targets and self.targets[i].style is not None}
        concepts = sorted({str(medium.concept) for medium in truths.values() if medium.concept})
        by_concept: dict[str, list[CandidateMedium]] = defaultdict(list)
        for medium in assets_of_concepts(self._catalog, self._build, concepts):
            by_concept[str(medium.concept)].append(medium)
        lists = {}
        for sample_id, truth in truths.items():
            others = {m.asset_id: m for m in by_concept[str(truth.concept)] if m.style != truth.style}
            by_style: dict[str, CandidateMedium] = {}
            for asset_id in by_hash(others, self.seed):
                by_style.setdefault(str(others[asset_id].style), others[asset_id])
            by_style.pop("None", None)
            listed = [by_style[style] for style in by_hash(by_style, self.seed)][: self.n_styles - 1]
            if listed:
                lists[sample_id] = [truth, *listed]
        return lists

    def _task(self, medium: CandidateMedium) -> str:
        assert medium.sample is not None
        return medium.sample.task

    def _concept_pools(self) -> dict[tuple[str, str], list[CandidateMedium]]:
        """(modality, style) and (modality, task) -> test targets by hash; shared by samples, so each is embedded once."""
        pools: dict[tuple[str, str], dict[str, CandidateMedium]] = defaultdict(dict)
        for medium in self.targets.values():
            task = self._task(medium)
            pools[_pool_key(medium, task)].setdefault(medium.asset_id, medium)
            pools[(medium.modality, task)].setdefault(medium.asset_id, medium)
        return defaultdict(
            list,
            {
                key: [pool[asset_id] for asset_id in by_hash(pool, self.seed)][: POOL_FACTOR * self.k]
                for key, pool in pools.items()
            },
        )


def _pool_key(medium: CandidateMedium, task: str) -> tuple[str, str]:
    return (medium.modality, f"style={medium.style}" if medium.style else task)


def _differs(other: CandidateMedium, truth: CandidateMedium) -> bool:
    """Whether `other` is certainly a wrong answer: another family, or another concept if families are unknown."""
    if truth.family is not None and other.family is not None:
        return other.family != truth.family
    return other.concept != truth.concept or truth.concept is None


_ASSET_LOCATION = "any_value(a.shard) as shard, any_value(a.offset) as offset, any_value(a.bytes) as size"


def _targets(catalog: Catalog, build: str | None, rows: Sequence[SampleRow]) -> dict[str, CandidateMedium]:
    """sample id -> first medium of the last message, for test samples that have one."""
    by_id = {row.sample_id: row for row in rows}
    table = catalog.sql(
        f"""with turns as (select sample_id, max(turn) as last from parts group by sample_id),
            first as (select p.sample_id, min(p.position) as position from parts p join turns t using (sample_id)
                      where p.turn = t.last and p.modality <> 'text' group by 1)
            select p.sample_id, p.asset_id, p.modality, {_ASSET_LOCATION}
            from parts p join first f on p.sample_id = f.sample_id and p.position = f.position
            join samples s on s.sample_id = p.sample_id left join assets a on a.asset_id = p.asset_id
            where s.split = 'test' group by 1, 2, 3 order by 1""",
        build=build,
    )
    targets = {}
    for location in table.to_pylist():
        row = by_id.get(location.pop("sample_id"))
        if row is not None:
            attributes: dict[str, Any] = {name: row.meta.get(name) for name in ("concept", "family", "style")}
            targets[row.sample_id] = CandidateMedium(**location, **attributes, sample=row)
    return targets


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
            values[medium.asset_id] = decode(medium.modality, data)
    return values


def candidate_values(store: Store, media: Iterable[CandidateMedium], known: Mapping[str, Any]) -> dict[str, Any]:
    """asset id -> value: from `known`, from asset shards, or (derived media) from the reply of their sample."""
    missing = {medium.asset_id: medium for medium in media if medium.asset_id not in known}
    values = {**known, **read_media(store, list(missing.values()))}
    rest = {m.sample.sample_id: m.sample for i, m in missing.items() if i not in values and m.sample}
    for sample in load_samples(store, rest.values()).values():
        values |= {part["asset_id"]: part["value"] for part in sample.reply if part["type"] != "text"}
    return values
