"""Candidates: the truth and others that differ from it in one thing. The truth comes first in every list.

- concept@1: other targets of the test split, of other families, in the same style where there are enough;
- style@1: the same concept in other styles;
- edit@1: the input, and what other edits of it would give;
- text_concept@1: the replies to other test samples of the task.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codi2_model.evaluation.bench.other_edits import known_edits, other_edits
from codi2_model.evaluation.bench.questions import Question
from codi2_model.evaluation.candidates import Medium, assets_of_concepts
from codi2_model.evaluation.data import SampleRow, by_hash
from codi2_storage.catalog.catalog import Catalog

CONCEPTS = {"image": 100, "audio": 20, "video": 20, "text": 10}
STYLES, EDITS = 12, 8


@dataclass
class Choices:
    """question key -> measure -> candidate ids, truth first; the candidates by id (a text is its own id); and the values
    of those that were made on the spot."""

    lists: dict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(dict))
    media: dict[str, Medium] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)

    def add(self, key: str, name: str, media: Sequence[Medium]) -> None:
        if len(media) > 1:
            self.lists[key][name] = [medium.asset_id for medium in media]
            self.media |= {medium.asset_id: medium for medium in media}


class Rivals:
    """Candidate lists for one build; the same for the same seed, whatever samples are asked about."""

    def __init__(self, catalog: Catalog, build: str, rows: Sequence[SampleRow], seed: int) -> None:
        self._catalog, self._build, self._seed = catalog, build, seed
        self._targets = test_targets(catalog, build, rows)
        self._pools = self._concept_pools()
        self._replies = test_replies(catalog, build)
        self._rows = {row.sample_id: row for row in rows}
        self._known_edits = known_edits(catalog, build)

    def kinds(self, task: str) -> set[str]:
        """The kinds of media that the task's test samples ask for."""
        return {m.modality for m in self._targets.values() if m.sample is not None and m.sample.task == task}

    def choices(self, questions: Sequence[Question]) -> Choices:
        found = Choices()
        for question in questions:
            if question.modality == "text":
                self._texts(question, found)
            else:
                found.add(question.key, "concept@1", self._concepts(question))
        self._styles([q for q in questions if q.modality == "image"], found)
        self._edits([q for q in questions if q.source is not None], found)
        return found

    def _concepts(self, question: Question) -> list[Medium]:
        truth = self._targets.get((question.sample.row.sample_id, question.modality))
        if truth is None:
            return []
        task = question.sample.row.task
        pools = [self._pools[(truth.modality, f"style={truth.style}")], self._pools[(truth.modality, task)]]
        chosen, seen = [truth], {truth.asset_id}
        for other in (medium for pool in pools for medium in pool):
            if len(chosen) == CONCEPTS[truth.modality]:
                break
            if other.asset_id not in seen and (other.family or other.concept) != (truth.family or truth.concept):
                chosen.append(other)
                seen.add(other.asset_id)
        return chosen

    def _concept_pools(self) -> dict[tuple[str, str], list[Medium]]:
        """(modality, style) and (modality, task) -> test targets by hash, so few that each is embedded once."""
        pools: dict[tuple[str, str], dict[str, Medium]] = defaultdict(dict)
        for medium in self._targets.values():
            assert medium.sample is not None
            pools[(medium.modality, medium.sample.task)].setdefault(medium.asset_id, medium)
            if medium.style:
                pools[(medium.modality, f"style={medium.style}")].setdefault(medium.asset_id, medium)
        spare = 12  # beyond the wanted number, for those of the truth's own family
        return defaultdict(
            list,
            {
                key: [pool[i] for i in by_hash(pool, self._seed)][: CONCEPTS[key[0]] + spare]
                for key, pool in pools.items()
            },
        )

    def _styles(self, questions: Sequence[Question], found: Choices) -> None:
        asked = [q for q in questions if q.meta.get("style") and q.meta.get("concept")]
        by_concept: dict[str, list[Medium]] = defaultdict(list)
        for medium in assets_of_concepts(self._catalog, self._build, sorted({str(q.meta["concept"]) for q in asked})):
            by_concept[str(medium.concept)].append(medium)
        for question in asked:
            known = by_concept[str(question.meta["concept"])]
            if question.truth_id not in {medium.asset_id for medium in known}:
                continue  # a derived picture (a grid, say) is in no style by itself
            truth = next(medium for medium in known if medium.asset_id == question.truth_id)
            others = {m.asset_id: m for m in known if m.style and m.style != truth.style}
            one_each: dict[str, Medium] = {}
            for asset_id in by_hash(others, self._seed):
                one_each.setdefault(str(others[asset_id].style), others[asset_id])
            found.add(question.key, "style@1", [truth, *(one_each[s] for s in sorted(one_each))][:STYLES])

    def _edits(self, questions: Sequence[Question], found: Choices) -> None:
        truths = places(self._catalog, self._build, [q.truth_id for q in questions])
        relatives = _by_family(self._catalog, self._build, {str(q.meta.get("family")) for q in questions})
        derived = _by_input(self._catalog, self._build, {i for q in questions for i in _origins(q, truths)})
        for question in questions:
            row = truths.get(question.truth_id)
            drawn = question.modality == "image" and not (row and row["op"])  # an edit that somebody drew
            if drawn:
                near = {r["asset_id"]: r for r in relatives[str(question.meta.get("family"))] if _sibling(r, question)}
            else:
                rows = [r for i in _origins(question, truths) for r in derived[i]]
                near = {r["asset_id"]: r for r in rows if r["modality"] == question.modality}
            taken, group = {question.truth_id, question.source_id}, row and row["near"]
            others = {k: r for k, r in near.items() if k not in taken and not (group and r["near"] == group)}
            chosen = [_medium(others[i], question) for i in by_hash(others, self._seed)][: EDITS - 2]
            if not drawn:
                chosen += self._made(question, EDITS - 2 - len(chosen), found)
            truth = _medium(row or {"asset_id": question.truth_id}, question, question.sample.row)
            source = Medium(question.source_id, question.modality, None, None, None, None, None, None)
            found.add(question.key, "edit@1", [truth, source, *chosen])

    def _made(self, question: Question, count: int, found: Choices) -> list[Medium]:
        edits = self._known_edits.get(question.modality, [])
        made = other_edits(question.source, question.truth, edits, count, self._seed)
        values = {f"{question.source_id} {name}": value for name, value in made.items()}
        found.made |= values
        return [Medium(name, question.modality, None, None, None, None, None, None) for name in values]

    def _texts(self, question: Question, found: Choices) -> None:
        row = question.sample.row
        replies = self._replies.get(row.task, {})
        texts, chosen = {question.truth}, [question.truth]
        for other in by_hash(replies, self._seed):
            about = self._rows.get(other)
            same = about is not None and about.meta.get("family") and about.meta["family"] == row.meta.get("family")
            if len(chosen) < CONCEPTS["text"] and replies[other] not in texts and not same:
                texts.add(replies[other])
                chosen.append(replies[other])
        if len(chosen) > 1:
            found.lists[question.key]["text_concept@1"] = chosen


def _origins(question: Question, truths: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the truth was derived from; where it is an original (an edit that undoes something), itself."""
    row = truths.get(question.truth_id)
    return list(row["inputs"]) if row and row["inputs"] else [question.truth_id]


def _sibling(row: Mapping[str, Any], question: Question) -> bool:
    """Another picture of the family that an edit could have led to: the same style, or the very same concept."""
    return row["style"] == question.meta.get("style") or row["concept"] == question.meta.get("concept")


def _medium(row: Mapping[str, Any], question: Question, sample: SampleRow | None = None) -> Medium:
    about: dict[str, Any] = {n: row.get(n) for n in ("concept", "family", "style", "shard", "offset", "size")}
    return Medium(asset_id=str(row["asset_id"]), modality=question.modality, sample=sample, **about)


_PLACE = """any_value(modality) as modality, any_value(shard) as shard, any_value("offset") as "offset", any_value(bytes) as size,
            any_value(op) as op, any_value(inputs) as inputs, any_value(near) as near"""


def places(catalog: Catalog, build: str, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """asset id -> where its bytes are, how it was derived, its group of near-duplicates."""
    query = f"select asset_id, {_PLACE} from assets where list_contains(?, asset_id) group by asset_id"
    found = catalog.sql(query, [sorted(set(ids))], build=build).to_pylist()
    return {row["asset_id"]: row for row in found}


def _by_family(catalog: Catalog, build: str, families: set[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    query = f"""select asset_id, any_value(attributes) as attributes, {_PLACE} from assets
                where modality = 'image' and op is null and shard is not null
                  and list_contains(?, json_extract_string(attributes, '$.family'))
                group by asset_id order by asset_id"""
    for row in catalog.sql(query, [sorted(families)], build=build).to_pylist():
        row |= {k: v for k, v in json.loads(row.pop("attributes")).items() if k in ("concept", "family", "style")}
        found[str(row["family"])].append({"style": None, "concept": None, **row})
    return found


def _by_input(catalog: Catalog, build: str, inputs: set[str]) -> dict[str, list[dict[str, Any]]]:
    """input asset -> what else was derived from it."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    query = f"""select asset_id, {_PLACE} from assets where op is not null and list_has_any(inputs, ?)
                group by asset_id order by asset_id"""
    for row in catalog.sql(query, [sorted(inputs)], build=build).to_pylist() if inputs else ():
        for asset_id in row["inputs"]:
            found[asset_id].append(row)
    return found


def test_targets(catalog: Catalog, build: str, rows: Sequence[SampleRow]) -> dict[tuple[str, str], Medium]:
    """(sample id, modality) -> the first medium of that kind in its last message, for all test samples."""
    by_id = {row.sample_id: row for row in rows}
    table = catalog.sql(
        """with turns as (select sample_id, max(turn) as last from parts group by sample_id),
                first as (select p.sample_id, p.modality, arg_min(p.asset_id, p.position) as asset_id
                          from parts p join turns t on p.sample_id = t.sample_id and p.turn = t.last
                          join samples s on s.sample_id = p.sample_id
                          where s.split = 'test' and p.modality <> 'text' group by 1, 2)
           select f.sample_id, f.modality, f.asset_id, any_value(a.shard) as shard, any_value(a."offset") as "offset",
                  any_value(a.bytes) as size
           from first f left join assets a using (asset_id) group by all order by all""",
        build=build,
    )
    found = {}
    for row in table.to_pylist():
        sample = by_id.get(row.pop("sample_id"))
        if sample is not None:
            about: dict[str, Any] = {name: sample.meta.get(name) for name in ("concept", "family", "style")}
            found[(sample.sample_id, row["modality"])] = Medium(**row, **about, sample=sample)
    return found


def test_replies(catalog: Catalog, build: str) -> dict[str, dict[str, str]]:
    """task -> sample id -> the words of its last message, for test samples whose replies hold words."""
    table = catalog.sql(
        """with turns as (select sample_id, max(turn) as last from parts group by sample_id)
           select s.task, s.sample_id, string_agg(p.text, '' order by p.position) as reply
           from samples s join turns t using (sample_id) join parts p on p.sample_id = s.sample_id and p.turn = t.last
           where s.split = 'test' and p.modality = 'text' group by all order by all""",
        build=build,
    )
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in table.to_pylist():
        found[row["task"]][row["sample_id"]] = row["reply"]
    return found
