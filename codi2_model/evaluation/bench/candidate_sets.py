"""Candidate sets of the benchmark: the truth first, then others that differ from it in one property.

- concept@1: other targets of the test split, of other families, in the same style if there are enough.
- style@1: the same concept in other styles.
- edit@1: the input, and the results of other edits of it.
- recall@1: the other media of the conversation.
- text_concept@1: the replies to other test samples of the task.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codi2_model.evaluation.bench.candidate_media import CandidateMedium, assets_of_concepts
from codi2_model.evaluation.bench.other_edits import known_edits, other_edits
from codi2_model.evaluation.bench.questions import Question
from codi2_model.evaluation.data import SampleRow, by_hash
from codi2_storage.catalog.catalog import Catalog

CONCEPTS = {"image": 100, "audio": 20, "video": 20, "text": 10}
STYLES, EDITS = 12, 8


@dataclass
class Choices:
    """Candidates of questions.

    lists: question key -> measure -> candidate ids, truth first (the id of a text is the text). media: candidates by id.
    values: id -> value of candidates that are created here.
    """

    lists: dict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(dict))
    media: dict[str, CandidateMedium] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, key: str, name: str, media: Sequence[CandidateMedium]) -> None:
        """Add the candidates of a measure, if there are at least two."""
        if len(media) > 1:
            self.lists[key][name] = [medium.asset_id for medium in media]
            self.media |= {medium.asset_id: medium for medium in media}


class CandidateSets:
    """Candidate sets of a build. They depend on the seed, not on the other questions."""

    def __init__(self, catalog: Catalog, build: str, rows: Sequence[SampleRow], seed: int, styles: bool = True) -> None:
        """styles: also candidates of style@1."""
        self._catalog, self._build, self._seed, self._with_styles = catalog, build, seed, styles
        self._targets = test_targets(catalog, build, rows)
        self._pools = self._concept_pools()
        self._replies = test_replies(catalog, build)
        self._rows = {row.sample_id: row for row in rows}
        self._known_edits = known_edits(catalog, build)

    def kinds(self, task: str) -> set[str]:
        """Modalities of the targets of a task's test samples."""
        return {m.modality for m in self._targets.values() if m.sample is not None and m.sample.task == task}

    def choices(self, questions: Sequence[Question]) -> Choices:
        """The candidates of questions."""
        choices = Choices()
        for question in questions:
            if question.modality == "text":
                self._texts(question, choices)
            else:
                choices.add(question.key, "concept@1", self._concepts(question))
        if self._with_styles:
            self._styles([q for q in questions if q.modality == "image"], choices)
        self._edits([q for q in questions if q.source is not None], choices)
        for question in (q for q in questions if q.is_recall):
            choices.add(question.key, "recall@1", _conversation(question))
        return choices

    def _concepts(self, question: Question) -> list[CandidateMedium]:
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

    def _concept_pools(self) -> dict[tuple[str, str], list[CandidateMedium]]:
        """(modality, style) and (modality, task) -> test targets by hash; small, to limit the number of embeddings."""
        pools: dict[tuple[str, str], dict[str, CandidateMedium]] = defaultdict(dict)
        for medium in self._targets.values():
            assert medium.sample is not None
            pools[(medium.modality, medium.sample.task)].setdefault(medium.asset_id, medium)
            if medium.style:
                pools[(medium.modality, f"style={medium.style}")].setdefault(medium.asset_id, medium)
        spare = 12  # for those of the truth's own family, which are not used
        return defaultdict(
            list,
            {
                key: [pool[i] for i in by_hash(pool, self._seed)][: CONCEPTS[key[0]] + spare]
                for key, pool in pools.items()
            },
        )

    def _styles(self, questions: Sequence[Question], choices: Choices) -> None:
        styled = [q for q in questions if q.meta.get("style") and q.meta.get("concept")]
        by_concept: dict[str, list[CandidateMedium]] = defaultdict(list)
        for medium in assets_of_concepts(self._catalog, self._build, sorted({str(q.meta["concept"]) for q in styled})):
            by_concept[str(medium.concept)].append(medium)
        for question in styled:
            same_concept = by_concept[str(question.meta["concept"])]
            if question.truth_id not in {medium.asset_id for medium in same_concept}:
                continue  # a derived image (such as a grid) has no style
            truth = next(medium for medium in same_concept if medium.asset_id == question.truth_id)
            others = {m.asset_id: m for m in same_concept if m.style and m.style != truth.style}
            by_style: dict[str, CandidateMedium] = {}
            for asset_id in by_hash(others, self._seed):
                by_style.setdefault(str(others[asset_id].style), others[asset_id])
            choices.add(question.key, "style@1", [truth, *(by_style[s] for s in sorted(by_style))][:STYLES])

    def _edits(self, questions: Sequence[Question], choices: Choices) -> None:
        truths = asset_records(self._catalog, self._build, [q.truth_id for q in questions])
        relatives = _by_family(self._catalog, self._build, {str(q.meta.get("family")) for q in questions})
        derived = _by_input(self._catalog, self._build, {i for q in questions for i in _origins(q, truths)})
        for question in questions:
            row = truths.get(question.truth_id)
            is_drawn = question.modality == "image" and not (row and row["op"])  # an original, not a derived edit
            if is_drawn:
                related = {
                    r["asset_id"]: r for r in relatives[str(question.meta.get("family"))] if _sibling(r, question)
                }
            else:
                rows = [r for i in _origins(question, truths) for r in derived[i]]
                related = {r["asset_id"]: r for r in rows if r["modality"] == question.modality}
            used, group = {question.truth_id, question.source_id}, row and row["near"]
            others = {k: r for k, r in related.items() if k not in used and not (group and r["near"] == group)}
            chosen = [_medium(others[i], question) for i in by_hash(others, self._seed)][: EDITS - 2]
            if not is_drawn:
                chosen += self._other_edits(question, EDITS - 2 - len(chosen), choices)
            truth = _medium(row or {"asset_id": question.truth_id}, question, question.sample.row)
            source = _without_place(question.source_id, question.modality)
            choices.add(question.key, "edit@1", [truth, source, *chosen])

    def _other_edits(self, question: Question, count: int, choices: Choices) -> list[CandidateMedium]:
        edits = self._known_edits.get(question.modality, [])
        results = other_edits(question.source, question.truth, edits, count, self._seed)
        values = {f"{question.source_id} {name}": value for name, value in results.items()}
        choices.values |= values
        return [_without_place(name, question.modality) for name in values]

    def _texts(self, question: Question, choices: Choices) -> None:
        row = question.sample.row
        replies = self._replies.get(row.task, {})
        texts, chosen = {question.truth}, [question.truth]
        for other in by_hash(replies, self._seed):
            other_row = self._rows.get(other)
            family = None if other_row is None else other_row.meta.get("family")
            same_family = family and family == row.meta.get("family")
            if len(chosen) < CONCEPTS["text"] and replies[other] not in texts and not same_family:
                texts.add(replies[other])
                chosen.append(replies[other])
        if len(chosen) > 1:
            choices.lists[question.key]["text_concept@1"] = chosen


def _conversation(question: Question) -> list[CandidateMedium]:
    """The truth, and the other media of its modality in the prompt."""
    parts = [part for message in question.sample.prompt for part in message["content"]]
    shown = [part["asset_id"] for part in parts if part["type"] == question.modality]
    return [_without_place(name, question.modality) for name in dict.fromkeys((question.truth_id, *shown))]


def _without_place(asset_id: str, modality: str) -> CandidateMedium:
    """A candidate whose value is at hand."""
    return CandidateMedium(asset_id, modality, None, None, None, None, None, None)


def _origins(question: Question, truths: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Inputs of a derived truth; the truth itself if it is an original (an edit that undoes something)."""
    row = truths.get(question.truth_id)
    return list(row["inputs"]) if row and row["inputs"] else [question.truth_id]


def _sibling(row: Mapping[str, Any], question: Question) -> bool:
    """Whether an image of the family is a plausible result of an edit: the same style, or the same concept."""
    return row["style"] == question.meta.get("style") or row["concept"] == question.meta.get("concept")


def _medium(row: Mapping[str, Any], question: Question, sample: SampleRow | None = None) -> CandidateMedium:
    fields: dict[str, Any] = {n: row.get(n) for n in ("concept", "family", "style", "shard", "offset", "size")}
    return CandidateMedium(asset_id=str(row["asset_id"]), modality=question.modality, sample=sample, **fields)


_LOCATION = """any_value(modality) as modality, any_value(shard) as shard, any_value("offset") as "offset", any_value(bytes) as size,
            any_value(op) as op, any_value(inputs) as inputs, any_value(near) as near"""


def asset_records(catalog: Catalog, build: str, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """asset id -> location, derivation, and group of near-duplicates."""
    query = f"select asset_id, {_LOCATION} from assets where list_contains(?, asset_id) group by asset_id"
    rows = catalog.sql(query, [sorted(set(ids))], build=build).to_pylist()
    return {row["asset_id"]: row for row in rows}


def _by_family(catalog: Catalog, build: str, families: set[str]) -> dict[str, list[dict[str, Any]]]:
    assets: dict[str, list[dict[str, Any]]] = defaultdict(list)
    query = f"""select asset_id, any_value(attributes) as attributes, {_LOCATION} from assets
                where modality = 'image' and op is null and shard is not null
                  and list_contains(?, json_extract_string(attributes, '$.family'))
                group by asset_id order by asset_id"""
    for row in catalog.sql(query, [sorted(families)], build=build).to_pylist():
        row |= {k: v for k, v in json.loads(row.pop("attributes")).items() if k in ("concept", "family", "style")}
        assets[str(row["family"])].append({"style": None, "concept": None, **row})
    return assets


def _by_input(catalog: Catalog, build: str, inputs: set[str]) -> dict[str, list[dict[str, Any]]]:
    """input asset id -> assets derived from it."""
    assets: dict[str, list[dict[str, Any]]] = defaultdict(list)
    query = f"""select asset_id, {_LOCATION} from assets where op is not null and list_has_any(inputs, ?)
                group by asset_id order by asset_id"""
    for row in catalog.sql(query, [sorted(inputs)], build=build).to_pylist() if inputs else ():
        for asset_id in row["inputs"]:
            assets[asset_id].append(row)
    return assets


def test_targets(catalog: Catalog, build: str, rows: Sequence[SampleRow]) -> dict[tuple[str, str], CandidateMedium]:
    """(sample id, modality) -> first medium of the modality in the last message, for all test samples."""
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
    targets = {}
    for row in table.to_pylist():
        sample = by_id.get(row.pop("sample_id"))
        if sample is not None:
            attributes: dict[str, Any] = {name: sample.meta.get(name) for name in ("concept", "family", "style")}
            targets[(sample.sample_id, row["modality"])] = CandidateMedium(**row, **attributes, sample=sample)
    return targets


def test_replies(catalog: Catalog, build: str) -> dict[str, dict[str, str]]:
    """task -> sample id -> text of the last message, for test samples with text replies."""
    table = catalog.sql(
        """with turns as (select sample_id, max(turn) as last from parts group by sample_id)
           select s.task, s.sample_id, string_agg(p.text, '' order by p.position) as reply
           from samples s join turns t using (sample_id) join parts p on p.sample_id = s.sample_id and p.turn = t.last
           where s.split = 'test' and p.modality = 'text' group by all order by all""",
        build=build,
    )
    replies: dict[str, dict[str, str]] = defaultdict(dict)
    for row in table.to_pylist():
        replies[row["task"]][row["sample_id"]] = row["reply"]
    return replies
