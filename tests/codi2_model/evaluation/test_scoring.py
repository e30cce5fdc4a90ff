"""Scores of the truth, a copy, a missing and a constant answer, on a small build."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from codi2_model.evaluation.baselines import CHANCE, COPY_INPUT, NEAREST_TRAIN
from codi2_model.evaluation.candidates import Candidates
from codi2_model.evaluation.data import EvaluationError, Leak, leaks, load_samples, pick, sample_rows, train_answers
from codi2_model.evaluation.evaluator import judge_answers, nearest_train_answers
from codi2_model.evaluation.scoring import CONCEPT, EDIT, MODEL, STYLE, nearest_is_first, summary
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store


@pytest.fixture(scope="module")
def catalog(build_root: str) -> Catalog:
    return Catalog(build_root)


@pytest.fixture(scope="module")
def samples(catalog: Catalog) -> list[Any]:
    rows = pick(sample_rows(catalog, None, "test"), 6, seed=1)
    loaded = load_samples(catalog.store, rows)
    return [loaded[row.sample_id] for row in rows]


def judged(catalog: Catalog, samples: list[Any], answers: dict[str, Any]) -> dict[tuple[str, str, str | None], Any]:
    rows = sample_rows(catalog, None, "test")
    nearest = nearest_train_answers(catalog, catalog.store, "b1", samples, seed=0)
    metrics, _, notes = judge_answers(catalog, catalog.store, "b1", rows, samples, answers, nearest, seed=0)
    assert set(notes) == {sample.row.sample_id for sample in samples}
    return {(row["task"], row["metric"], row["baseline"]): row for row in metrics}


def test_picking_is_by_hash_the_same_each_time_and_other_for_another_seed(catalog: Catalog) -> None:
    rows = sample_rows(catalog, None, "test")
    assert len(rows) == 120
    first = pick(rows, 5, 0)
    assert [r.sample_id for r in first] == [r.sample_id for r in pick(rows[::-1], 5, 0)]
    assert {r.sample_id for r in first} != {r.sample_id for r in pick(rows, 5, 1)}
    assert {row.task: 0 for row in first}.keys() == {row.task for row in rows} and len(first) == 30


def test_the_true_answer_is_always_right_and_its_baselines_are_beside_it(catalog: Catalog, samples: list[Any]) -> None:
    table = judged(catalog, samples, {s.row.sample_id: s.reply for s in samples})
    for task in ("text_to_image", "image_editing", "exemplar_learning", "text_to_audio", "audio_editing"):
        assert table[(task, CONCEPT, MODEL)]["value"] == 1.0, task
        assert table[(task, "target_similarity", MODEL)]["value"] == pytest.approx(1.0, abs=1e-4)
        assert 0 < table[(task, CONCEPT, CHANCE)]["value"] <= 0.5
        assert table[(task, CONCEPT, NEAREST_TRAIN)]["n"] == 6
        assert table[(task, f"{CONCEPT}_p_value", MODEL)]["value"] < 0.01
    assert table[("image_editing", STYLE, MODEL)]["value"] == 1.0
    assert table[("image_editing", STYLE, COPY_INPUT)]["value"] < 0.5  # the input is in another style
    assert table[("image_editing", EDIT, MODEL)]["value"] == 1.0
    assert table[("image_editing", EDIT, COPY_INPUT)]["value"] == 0.0
    assert table[("text_to_image", CONCEPT, CHANCE)]["low"] is None
    assert ("text_to_image", CONCEPT, COPY_INPUT) not in table  # nothing to copy
    assert table[("image_captioning", "token_f1", MODEL)]["value"] == 1.0
    assert table[("image_captioning", "token_f1", NEAREST_TRAIN)]["value"] < 1.0
    assert ("image_captioning", "token_f1", COPY_INPUT) not in table


def test_a_missing_medium_and_a_constant_picture_earn_nothing_by_luck(catalog: Catalog, samples: list[Any]) -> None:
    images = [s for s in samples if s.target["type"] == "image"]
    nothing = judged(catalog, images, {s.row.sample_id: [{"type": "text", "text": "sorry"}] for s in images})
    assert nothing[("text_to_image", CONCEPT, MODEL)]["value"] == 0.0
    assert nothing[("text_to_image", "answered", MODEL)]["value"] == 0.0
    grey = [{"type": "image", "value": Image.new("RGB", (32, 32), "grey")}]
    constant = judged(catalog, images, {s.row.sample_id: grey for s in images})
    assert constant[("text_to_image", CONCEPT, MODEL)]["value"] <= 0.5
    assert constant[("text_to_image", "answered", MODEL)]["value"] == 1.0


def test_a_tie_is_wrong() -> None:
    row = np.array([1.0, 0.0], np.float32)
    assert not nearest_is_first(row, np.stack([row, row]))
    assert not nearest_is_first(np.zeros(2, np.float32), np.eye(2, dtype=np.float32))
    assert not nearest_is_first(row, row[None])
    assert nearest_is_first(row, np.eye(2, dtype=np.float32))


def test_candidates_differ_in_one_thing(catalog: Catalog) -> None:
    rows = sample_rows(catalog, None, "test")
    candidates = Candidates(catalog, None, rows, seed=0, k=10)
    edits = [row.sample_id for row in rows if row.task == "image_editing"]
    same_style = 0
    for sample_id in edits:
        truth, *others = candidates.concept(sample_id)
        assert len({truth.asset_id, *(o.asset_id for o in others)}) == 1 + len(others) and others
        assert all(other.concept != truth.concept and other.modality == truth.modality for other in others)
        same_style += sum(other.style == truth.style for other in others)
    assert same_style > 0
    for truth, *others in candidates.styles(edits).values():
        assert all(other.concept == truth.concept and other.style != truth.style for other in others)
    again = Candidates(catalog, None, rows[::-1], seed=0, k=10)
    assert [m.asset_id for m in candidates.concept(edits[0])] == [m.asset_id for m in again.concept(edits[0])]


def test_train_answers_hold_prompt_and_reply_texts(catalog: Catalog) -> None:
    answers = train_answers(catalog, None, "image_captioning", seed=0)
    assert len(answers) == 40 and all(a.row.split == "train" and a.prompt == "What is this?" for a in answers)
    assert all("," in answer.reply for answer in answers)


def test_the_leak_check_counts_targets_that_train_shows(catalog: Catalog) -> None:
    train_media, targets = set(), {}
    rows = sample_rows(catalog, None, "train") + sample_rows(catalog, None, "test")
    for sample in load_samples(catalog.store, rows).values():
        media = [part for message in sample.prompt for part in message["content"]] + sample.reply
        if sample.row.split == "train":
            train_media |= {part["asset_id"] for part in media if part["type"] != "text"}
        elif sample.target["type"] != "text":
            targets.setdefault(sample.row.task, set()).add(sample.target["asset_id"])
    result = leaks(catalog, None)
    assert result == [Leak(task, len(targets[task] & train_media), len(targets[task])) for task in sorted(targets)]
    assert Leak("text_to_audio", 9, 9) in result  # the drawn data has nine tones, and every split all of them


def test_a_sample_that_its_shard_lacks_is_named(catalog: Catalog) -> None:
    row = sample_rows(catalog, None, "test")[0]
    other = next(r for r in sample_rows(catalog, None, "train") if r.task != row.task)
    with pytest.raises(EvaluationError, match=f"lacks sample {row.sample_id}"):
        load_samples(Store(catalog.store.root), [row.__class__(**{**row.__dict__, "shard": other.shard})])


def test_the_summary_sets_the_model_beside_its_baselines() -> None:
    about = {"suite": "judge:image", "task": "t", "metric": "m", "n": 4}
    columns, cells = summary(
        [
            {**about, "value": 0.5, "low": 0.25, "high": 0.75, "baseline": None},
            {**about, "value": 0.1, "low": None, "high": None, "baseline": CHANCE},
        ]
    )
    assert columns == ["suite", "task", "metric", "n", "model", "chance"]
    assert cells == [["judge:image", "t", "m", "4", "0.500 [0.250, 0.750]", "0.100"]]
