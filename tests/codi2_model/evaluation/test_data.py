"""Samples of a small build: picked, read, searched for leaks."""

from __future__ import annotations

import pytest

from codi2_model.evaluation.bench.leakage import Leak, leaks
from codi2_model.evaluation.data import EvaluationError, load_samples, pick, sample_rows, train_answers
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store


@pytest.fixture(scope="module")
def catalog(build_root: str) -> Catalog:
    return Catalog(build_root)


def test_picking_is_by_hash_the_same_each_time_and_other_for_another_seed(catalog: Catalog) -> None:
    rows = sample_rows(catalog, None, "test")
    assert len(rows) == 120
    first = pick(rows, 5, 0)
    assert [r.sample_id for r in first] == [r.sample_id for r in pick(rows[::-1], 5, 0)]
    assert {r.sample_id for r in first} != {r.sample_id for r in pick(rows, 5, 1)}
    assert {row.task: 0 for row in first}.keys() == {row.task for row in rows} and len(first) == 30


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
