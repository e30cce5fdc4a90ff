"""The promotion gate, with artificial scores in a real catalog."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codi2_model.evaluation.bench.recorded import VERSION
from codi2_model.evaluation.contamination import Contamination, find_contamination
from codi2_model.evaluation.gate import CHOSEN, GUARD, MIN_DIFFERING, Gate, compare, compare_metric, decide, record
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer
from codi2_storage.errors import UsageError
from codi2_storage.store import Store

GATE = Gate(metrics=("edit@1",), guards=("answered",), resamples=200)
Scores = dict[tuple[str, str], list[float]]  # (task, metric) -> a score a sample


def score(store: Store, checkpoint: str, scores: Scores, build_id: str) -> None:
    """Record the evaluation of a checkpoint: a run a task."""
    for task in sorted({task for task, _ in scores}):
        run = f"evaluate-{checkpoint}-{task}"
        config = {"version": VERSION, "suite": "quick", "task": task, "checkpoint": checkpoint, "limit": 24, "seed": 0}
        ids = {"run_id": run, "checkpoint_id": checkpoint, "task": task}
        rows = [
            {**ids, "metric": metric, "sample_id": f"{task}-{n}", "value": value}
            for (scored, metric), values in scores.items()
            if scored == task
            for n, value in enumerate(values)
        ]
        with Writer(store, run, "run") as writer:
            about = {"run_id": run, "kind": "evaluation", "build_id": build_id}
            writer.append("runs", [{**about, "config": json.dumps(config)}])
            writer.append("scores", rows)


def evaluated(store: Store, candidate: Scores, champion: Scores, build_id: str = "b1") -> None:
    score(store, "new", candidate, build_id)
    score(store, "old", champion, build_id)


def drawn(values: list[float], answered: list[float] | None = None) -> Scores:
    return {("draw", "edit@1"): values, ("draw", "answered"): answered or [1.0] * len(values)}


def test_better_in_enough_samples_is_promoted_and_recorded_with_its_table(tmp_path: Path) -> None:
    store = Store(tmp_path)
    evaluated(store, drawn([1.0] * 10 + [0.0] * 10), drawn([0.0] * 20))
    decision = decide(store, GATE, "b1", "new", "old")
    assert (
        decision.promoted and "edit@1 0.500 against 0.000" in decision.reason and "better than old" in decision.reason
    )
    columns, cells = decision.table()
    assert [row[columns.index("verdict")] for row in cells] == ["better", "holds"]
    record(store, decision, "b1", "new", "old")
    record(store, decide(store, GATE, "b1", "new", "old"), "b1", "new", "old")
    rows = Catalog(store).sql("select role, metric, gain, n, passed, promoted from gates order by role").to_pylist()
    assert rows == [
        {"role": CHOSEN, "metric": "edit@1", "gain": 0.5, "n": 20, "passed": True, "promoted": True},
        {"role": GUARD, "metric": "answered", "gain": 0.0, "n": 20, "passed": True, "promoted": True},
    ]


def test_a_guarded_metric_that_falls_blocks_whatever_is_gained(tmp_path: Path) -> None:
    store = Store(tmp_path)
    evaluated(store, drawn([1.0] * 20, [0.0] * 12 + [1.0] * 8), drawn([0.0] * 20))
    decision = decide(store, GATE, "b1", "new", "old")
    assert not decision.promoted and decision.reason.startswith("answered 0.400 against 1.000")
    assert "a guarded metric fell" in decision.reason
    assert decide(store, replace(GATE, guards=()), "b1", "new", "old").promoted


def test_a_few_lucky_samples_are_not_enough(tmp_path: Path) -> None:
    store = Store(tmp_path)
    few = MIN_DIFFERING - 1
    evaluated(store, drawn([1.0] * few), drawn([0.0] * few))
    decision = decide(store, GATE, "b1", "new", "old")
    assert not decision.promoted and f"only {few} samples differ" in decision.reason


def test_without_pairs_nothing_is_promoted_and_the_reason_names_what_was_scored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    evaluated(store, drawn([1.0] * 9), {("hear", "answered"): [1.0] * 9})
    with pytest.raises(UsageError, match="no sample has this metric for both models; available: answered, edit@1"):
        compare(store, GATE, "b1", "new", "old")
    decision = decide(store, GATE, "b1", "new", "old")
    assert not decision.promoted and decision.reason.startswith("cannot be compared with old: edit@1")
    record(store, decision, "b1", "new", "old")
    assert Catalog(store).sql("select passed, promoted from gates").to_pylist() == [
        {"passed": False, "promoted": False}
    ]
    assert decide(store, GATE, "b1", "new", None).promoted  # the first model


def test_where_nothing_is_chosen_the_first_usual_metric_that_the_samples_have_decides(tmp_path: Path) -> None:
    store = Store(tmp_path)
    words = {("say", "token_f1"): [1.0] * 9}, {("say", "token_f1"): [0.0] * 9}
    evaluated(store, *words)
    decision = decide(store, Gate(), "b1", "new", "old")
    assert decision.promoted and [line.metric for line in decision.lines if line.role == CHOSEN] == ["token_f1"]
    both = [{**some, **drawn([value] * 9)} for some, value in zip(words, (0.0, 1.0), strict=True)]
    evaluated(store, *both)
    decision = decide(store, Gate(guards=()), "b1", "new", "old")
    assert not decision.promoted and [line.metric for line in decision.lines] == ["edit@1"]


def test_a_metric_of_one_task_is_compared_on_that_task_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    mine = {("draw", "concept@1"): [1.0] * 9, ("hear", "concept@1"): [0.0] * 9}
    theirs = {("draw", "concept@1"): [0.0] * 9, ("hear", "concept@1"): [1.0] * 9}
    evaluated(store, mine, theirs)
    gate = Gate(metrics=("draw:concept@1",), guards=("concept@1",), resamples=200)
    chosen, guard = compare(store, gate, "b1", "new", "old")
    assert (chosen.gain, chosen.n, chosen.passed) == (1.0, 9, True) and (guard.gain, guard.n) == (0.0, 18)
    assert "hear:concept@1" in decide(store, replace(gate, guards=("hear:concept@1",)), "b1", "new", "old").reason


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_swapping_the_models_turns_the_gain_around(pairs: list[tuple[float, float]]) -> None:
    there = compare_metric(CHOSEN, "similarity", pairs, GATE)
    back = compare_metric(CHOSEN, "similarity", [(b, a) for a, b in pairs], GATE)
    assert there.gain == pytest.approx(-back.gain, abs=1e-9)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)
    assert not (there.passed and back.passed) and there.differing == back.differing
    # a guarded metric that falls in one direction does not fall in the other
    if not compare_metric(GUARD, "similarity", pairs, GATE).passed:
        assert compare_metric(GUARD, "similarity", [(b, a) for a, b in pairs], GATE).passed


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_equal_models_are_never_promoted_and_never_fall(values: list[float]) -> None:
    pairs = [(value, value) for value in values]
    assert not compare_metric(CHOSEN, "similarity", pairs, GATE).passed
    assert compare_metric(GUARD, "similarity", pairs, GATE).passed


def test_what_is_asked_for_wrongly_is_said_before_any_work() -> None:
    tasks = {"text_to_image", "text_to_audio"}
    Gate().check(tasks)
    for gate, message in (
        (Gate(metrics=("accuracy",)), "--metric accuracy: no such metric; available: answered, similarity, concept@1"),
        (Gate(guards=("reasoning:answered",)), "--guard reasoning:answered: the recipe has no task reasoning"),
        (Gate(guards=("frechet",)), "--guard frechet: no such metric"),  # it has no score a sample
        (Gate(limit=0), "--gate-samples 0: must be at least 1"),
    ):
        with pytest.raises(UsageError, match=message):
            gate.check(tasks)
    assert Gate.of(["answered"], ["none"], None) == Gate(metrics=("answered",), guards=())
    assert Gate.of([], None, 5) == Gate(limit=5)


def build(store: Store, build_id: str, samples: list[tuple[str, str, str]]) -> None:
    """(sample id, split, target medium) each."""
    with Writer(store, build_id, "build", info={"created_at": build_id}) as writer:
        about = {"build_id": build_id, "task": "draw"}
        writer.append("samples", [{**about, "sample_id": s, "split": split} for s, split, _ in samples])
        parts = [{"build_id": build_id, "sample_id": s, "asset_id": asset, "target": True} for s, _, asset in samples]
        writer.append("parts", parts)


def trained(store: Store, checkpoint: str, build_id: str, start: str | None = None) -> None:
    with Writer(store, f"train-{checkpoint}", "run") as writer:
        writer.append("runs", [{"run_id": f"train-{checkpoint}", "build_id": build_id, "start": start}])
        writer.append("checkpoints", [{"checkpoint_id": checkpoint, "run_id": f"train-{checkpoint}"}])


def test_held_out_samples_that_a_model_has_trained_on_are_no_pairs_and_the_decision_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    held = [(f"draw-{n}", "test", f"medium-{n}") for n in range(12)]
    # the older build trained on two of the very samples, and on a third one's medium in another sample
    build(store, "b1", [("draw-0", "train", "medium-0"), ("draw-1", "train", "x"), ("other", "train", "medium-2")])
    build(store, "b2", [*held, ("draw-99", "train", "medium-99")])
    trained(store, "base", "b1")
    trained(store, "old", "b2")
    trained(store, "new", "b2", start="base")  # by the weights it began with
    assert find_contamination(Catalog(store), "b2", ["old"]) == Contamination()
    result = find_contamination(Catalog(store), "b2", ["new", "old"])
    assert result.samples == {"draw-0", "draw-1", "draw-2"}
    evaluated(store, drawn([1.0] * 3 + [0.0] * 9), drawn([0.0] * 12), "b2")
    decision = decide(store, GATE, "b2", "new", "old", result)
    assert [line.n for line in decision.lines] == [9, 9] and decision.lines[0].gain == 0.0
    assert not decision.promoted and "3 held-out samples excluded" in decision.reason


def test_a_build_that_is_gone_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    build(store, "b2", [("draw-0", "test", "medium-0")])
    trained(store, "old", "b1")
    assert find_contamination(Catalog(store), "b2", ["old", "nobody"]).gone == ("b1",)
