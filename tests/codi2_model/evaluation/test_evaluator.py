"""Evaluation of a checkpoint: reproducible metrics in the catalog and a page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from codi2_model.evaluation import evaluate
from codi2_model.evaluation.data import EvaluationError
from codi2_model.evaluation.evaluator import GenerationSettings
from codi2_storage.catalog.catalog import Catalog

TASKS = ("text_to_image", "image_captioning", "image_editing", "exemplar_learning", "audio_editing")
FEW = GenerationSettings(batch_size=4, max_new_tokens=4, steps=2)


def test_an_evaluation_commits_its_metrics_and_page_and_is_not_done_twice(
    checkpoint: Path, build_root: str, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(build_root, root)
    first = evaluate(checkpoint, str(root), limit=3, settings=FEW, tasks=TASKS)
    assert first.samples == 15 and Path(first.page).is_file() and Path(first.contact_sheet).is_file()
    stored = Catalog(str(root)).sql("select * from metrics").to_pylist()
    key = ("suite", "task", "metric", "baseline", "value", "low", "high", "n", "run_id", "checkpoint_id")
    assert sorted(map(str, ([row[k] for k in key] for row in stored))) == sorted(
        map(str, ([row[k] for k in key] for row in first.rows))
    )
    run = Catalog(str(root)).sql("select * from runs").to_pylist()[0]
    assert run["kind"] == "evaluation" and json.loads(run["config"])["limit"] == 3 and run["build_id"] == "b1"
    suites = {row["suite"] for row in first.rows}
    assert suites == {"text", "judge:image", "judge:audio", "features", "leaks"}
    for task in ("text_to_image", "exemplar_learning"):
        row = next(r for r in first.rows if r["metric"] == "feature_top1" and r["task"] == task and not r["baseline"])
        held_out = (
            Catalog(str(root))
            .sql("select count(*) as n from samples where task = ? and split = 'test'", [task])
            .to_pylist()[0]["n"]
        )
        assert row["n"] == held_out > 3 and 0 <= row["value"] <= 1  # nothing is generated for it, so all are used
    answered = {row["task"]: row["value"] for row in first.rows if row["metric"] == "answered"}
    assert answered == dict.fromkeys(("text_to_image", "image_editing", "exemplar_learning", "audio_editing"), 1.0)

    page = Path(first.page)
    page.write_text("kept")
    again = evaluate(checkpoint, str(root), limit=3, settings=FEW, tasks=TASKS)
    assert again.rows == first.rows and again.page == first.page and page.read_text() == "kept"

    elsewhere = evaluate(checkpoint, str(root), limit=3, settings=FEW, tasks=TASKS, out=tmp_path / "out")
    assert elsewhere.rows == first.rows  # made anew, and the same to the last digit
    assert elsewhere.page == str(tmp_path / "out" / "index.html")


def test_a_task_that_the_model_cannot_do_is_left_out_and_said(
    deaf_checkpoint: Path, build_root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = ("image_captioning", "audio_editing", "text_to_audio")
    result = evaluate(deaf_checkpoint, build_root, limit=1, settings=FEW, tasks=tasks, out=tmp_path / "out")
    assert {row["task"] for row in result.rows if row["suite"] == "text"} == {
        "image_captioning"
    } and result.samples == 1
    assert "skipped task audio_editing: the model does not support audio" in capsys.readouterr().err
    with pytest.raises(EvaluationError, match="no test samples that the model supports"):
        evaluate(deaf_checkpoint, build_root, tasks=["audio_editing"])


def test_what_cannot_be_evaluated_is_said(checkpoint: Path, build_root: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not a checkpoint folder"):
        evaluate(tmp_path, build_root)
    with pytest.raises(EvaluationError, match="no published build under"):
        evaluate(checkpoint, str(tmp_path))
    with pytest.raises(EvaluationError, match="build b1 has no test samples of composition"):
        evaluate(checkpoint, build_root, tasks=["composition"])
