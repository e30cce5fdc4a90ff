"""The benchmark end to end on a small checkpoint and build, its reproducible report, and the gate that reads the same rows."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from codi2_model.evaluation.answering import GenerationSettings
from codi2_model.evaluation.bench import bench
from codi2_model.evaluation.bench.bench import EvaluationResult, evaluate
from codi2_model.evaluation.bench.candidate_media import read_media
from codi2_model.evaluation.bench.candidate_sets import CandidateSets
from codi2_model.evaluation.bench.embedding import Embedder
from codi2_model.evaluation.bench.measures import GAIN, MEASURES, bare, direction
from codi2_model.evaluation.bench.questions import answer_in, questions_of, skeleton_of
from codi2_model.evaluation.bench.recorded import recorded_runs
from codi2_model.evaluation.bench.scoring import MODEL, nearest_is_first, score
from codi2_model.evaluation.data import EvaluationError, load_samples, pick, sample_rows
from codi2_model.evaluation.gate import Gate, compare
from codi2_model.evaluation.judges import AudioJudge, Embeddings, ImageJudge, Judge
from codi2_model.evaluation.report.report import write_report
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

TASKS = ("text_to_image", "image_captioning", "exemplar_learning", "audio_editing", "text_to_video")
FEW = GenerationSettings(batch_size=4, max_new_tokens=4, steps=2)
Table = dict[tuple[str, str, str | None], dict[str, Any]]


def tabled(result: EvaluationResult) -> Table:
    return {(r["task"], r["metric"], r["baseline"]): r for r in result.rows if r["split"] == "test"}


@pytest.fixture(scope="module", autouse=True)
def judged_once() -> Iterator[None]:
    """What a judge has embedded for one test, it need not embed for another."""
    with pytest.MonkeyPatch.context() as patch:
        for judge in (ImageJudge, AudioJudge):
            patch.setattr(judge, "embed", remembering(judge.embed))
        yield


def remembering(embed: Callable[..., Embeddings]) -> Callable[..., Embeddings]:
    rows: dict[bytes, Embeddings] = {}

    def remembered(judge: Judge, media: Sequence[Any]) -> Embeddings:
        names = [pickle.dumps(medium) for medium in media]
        new = {name: medium for name, medium in zip(names, media, strict=True) if name not in rows}
        rows.update(zip(new, embed(judge, list(new.values())), strict=True))
        return np.stack([rows[name] for name in names]) if names else embed(judge, [])

    return remembered


@pytest.fixture(scope="module")
def root(bench_root: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("bench") / "root"
    shutil.copytree(bench_root, root)
    return str(root)


@pytest.fixture(scope="module")
def result(checkpoint: Path, root: str) -> EvaluationResult:
    return evaluate(checkpoint, root, suite="open", limit=3, tasks=TASKS, settings=FEW, allow_leaks=True)


@pytest.fixture(scope="module")
def quick(checkpoint: Path, root: str) -> EvaluationResult:
    return evaluate(checkpoint, root, limit=3, tasks=TASKS, settings=FEW, allow_leaks=True)


def test_every_task_has_its_measures_beside_its_baselines(result: EvaluationResult) -> None:
    table = tabled(result)
    assert set(result.runs) == set(TASKS) and result.left_out == {}
    for task in ("text_to_image", "exemplar_learning"):
        for metric in ("concept@1", "similarity", "shape_iou", "shape_chamfer", "colour_distance", "colour_error"):
            assert table[(task, metric, None)]["n"] == 3
            assert {b for (t, m, b) in table if (t, m) == (task, metric)} >= {None, "chance", "nearest_train"}
    for metric in ("edit@1", "edit@1_signal", "background_kept", "edit_progress"):
        assert ("exemplar_learning", metric, None) in table and ("exemplar_learning", metric, "copy_input") in table
    assert table[("exemplar_learning", "edit@1", "copy_input")]["value"] == 0
    assert table[("exemplar_learning", "edit@1_signal", "copy_input")]["value"] == 0
    assert ("text_to_image", "concept@1", "copy_input") not in table  # nothing to copy
    assert table[("exemplar_learning", "background_kept", "copy_input")]["value"] == 1
    assert table[("exemplar_learning", "edit_progress", "copy_input")]["value"] == 0
    for metric in ("lsd", "kl", "concept@1", "similarity", "frechet"):
        assert ("audio_editing", metric, None) in table and ("audio_editing", metric, "copy_input") in table
    for metric in ("frame_similarity", "motion_agreement", "concept@1"):
        assert ("text_to_video", metric, None) in table
    for metric in ("exact_match", "token_f1", "soft_match", "names_truth", "text_concept@1"):
        assert ("image_captioning", metric, None) in table
    assert table[("text_to_image", "frechet", None)]["low"] is None
    assert table[("text_to_image", "concept@1", "chance")]["low"] is None
    assert all(0 < table[(task, "concept@1", "chance")]["value"] <= 0.5 for task in TASKS if task != "image_captioning")
    assert all(bare(metric) in MEASURES for _, metric, _ in table)


def test_demonstrations_are_removed_exchanged_and_counted(result: EvaluationResult) -> None:
    table = tabled(result)
    for suffix in ("", GAIN):
        assert table[("exemplar_learning", f"edit@1{suffix}", "demos_removed")]["n"] == 3
    assert {m for (t, m, b) in table if (t, b) == ("exemplar_learning", None) and m.startswith("similarity[")} == {
        "similarity[demos=0]", "similarity[demos=1]",
    }  # fmt: skip
    assert not [key for key in table if key[0] == "text_to_image" and "demos" in f"{key[1]} {key[2]}"]


def test_demonstrations_are_compared_with_none_in_pairs(result: EvaluationResult) -> None:
    table = tabled(result)
    gain = table[("exemplar_learning", f"colour_error[demos=1]{GAIN}", "demos_removed")]
    none, one = (table[("exemplar_learning", f"colour_error[demos={n}]", None)]["value"] for n in (0, 1))
    assert gain["value"] == pytest.approx(none - one) and gain["low"] <= gain["value"] <= gain["high"]  # less is better
    assert not [key for key in table if key[1].startswith("colour_error[demos=0].")]


def test_a_second_run_reads_back_what_the_first_one_wrote(
    checkpoint: Path, root: str, result: EvaluationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_again(*_: Any) -> None:
        raise AssertionError("the model was loaded again")

    monkeypatch.setattr(bench, "load_model", not_again)
    again = evaluate(checkpoint, root, suite="open", limit=3, tasks=TASKS, settings=FEW, allow_leaks=True)
    assert again == result
    config = Catalog(root).sql("select config from runs where kind = 'evaluation' order by run_id").to_pylist()[0]
    assert json.loads(config["config"])["suite"] == "open"


def test_the_quick_suite_asks_each_sample_once_and_keeps_the_score_of_each(quick: EvaluationResult, root: str) -> None:
    table = tabled(quick)
    assert {who for _, _, who in table} == {None, "chance", "copy_input", "nearest_train"}
    assert not [metric for _, metric, _ in table if "demos" in metric]
    query = (
        "select task, metric, avg(value) as mean, count(*) as n from scores where list_contains(?, run_id) group by all"
    )
    for row in Catalog(root).sql(query, [list(quick.runs.values())]).to_pylist():
        own = table[(row["task"], row["metric"], None)]
        assert (own["value"], own["n"]) == (pytest.approx(row["mean"]), row["n"])


def test_the_gate_decides_on_the_rows_that_the_report_shows(
    checkpoint: Path,
    other_checkpoint: Path,
    root: str,
    result: EvaluationResult,
    quick: EvaluationResult,
    tmp_path: Path,
) -> None:
    candidate = evaluate(other_checkpoint, root, limit=3, tasks=TASKS, settings=FEW, allow_leaks=True)
    names = {"text_to_image": "concept@1", "exemplar_learning": "edit@1", "image_captioning": "names_truth"}
    gate = Gate(metrics=tuple(f"{task}:{name}" for task, name in names.items()), guards=("similarity",))
    lines = compare(Store(root), gate, "b1", candidate.checkpoint_id, result.checkpoint_id)
    for folder, side in ((other_checkpoint, "candidate_value"), (checkpoint, "champion_value")):
        card = write_report(folder, root, tmp_path / side).read_text()
        for line, (task, name) in zip(lines, names.items(), strict=False):
            assert line.n == 3 and f"| {task} | {name} | 3 | {getattr(line, side):.3f} (" in card
    read = {run.run_id for run in recorded_runs(Catalog(root), result.checkpoint_id, "b1")}
    assert read == set(result.runs.values())  # of equally many samples, the run with more conditions
    page = Path(candidate.page)
    for run_id in candidate.runs.values():
        assert f"../{run_id}/index.html" in page.read_text()
        assert (page.parent.parent / run_id / "contact_sheet.png").is_file()


def test_leaks_stop_the_bench_before_anything_is_made(
    checkpoint: Path, bench_root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EvaluationError, match=r"leaks: .*audio_editing \d+ of \d+"):
        evaluate(checkpoint, bench_root, limit=1, tasks=["audio_editing"])
    assert "leak check: test_targets_in_train" in capsys.readouterr().err
    with pytest.raises(EvaluationError, match="no test samples of composition"):
        evaluate(checkpoint, bench_root, tasks=["composition"])
    with pytest.raises(FileNotFoundError, match="not a checkpoint folder"):
        evaluate(bench_root, bench_root)
    with pytest.raises(EvaluationError, match="no published build under"):
        evaluate(checkpoint, str(tmp_path))


def test_what_a_model_lacks_is_left_out_with_the_reason(deaf_checkpoint: Path, root: str) -> None:
    tasks = ["image_captioning", "audio_editing", "text_to_video"]
    found = evaluate(deaf_checkpoint, root, limit=2, tasks=tasks, settings=FEW, allow_leaks=True)
    assert found.left_out == {
        "audio_editing": "the model does not support audio",
        "text_to_video": "the model does not support video",
    }
    assert {row["task"] for row in found.rows} == {"image_captioning"}
    with pytest.raises(EvaluationError, match="no test samples that the model supports"):
        evaluate(deaf_checkpoint, root, tasks=["audio_editing"], allow_leaks=True)


def test_the_truth_is_right_and_nothing_earns_nothing(bench_root: str) -> None:
    catalog = Catalog(bench_root)
    rows = sample_rows(catalog, "b1", "test")
    samples = list(load_samples(catalog.store, pick(rows, 3, seed=2)).values())
    questions = [question for sample in samples for question in questions_of(sample)]
    choices = CandidateSets(catalog, "b1", rows, seed=0).choices(questions)
    values = {q.truth_id or q.truth: q.truth for q in questions} | {q.source_id: q.source for q in questions}
    values |= {text: text for by in choices.lists.values() for text in by.get("text_concept@1", ())}
    rest = {m.sample.sample_id: m.sample for i, m in choices.media.items() if i not in values and m.sample}
    values |= {s.target["asset_id"]: s.target["value"] for s in load_samples(catalog.store, rest.values()).values()}
    values |= read_media(catalog.store, [m for i, m in choices.media.items() if i not in values])
    by_key = {q.key: answer_in(q.sample.reply, q.modality) for q in questions}
    grey = {q.key: Image.new("RGB", (32, 32), "grey") for q in questions if q.modality == "image"}
    answers = {MODEL: by_key, ("absent", ""): dict.fromkeys(by_key), ("grey", ""): grey}
    tally = score(questions, answers, choices, values, Embedder())
    grey_concepts = list(tally.single[("concept@1", ("grey", ""))].values())
    assert sum(grey_concepts) <= len(grey_concepts) / 2
    for (metric, (who, _)), scores in tally.single.items():
        if who == "grey":
            continue
        best = 1.0 if direction(metric) > 0 else 0.0
        if who is None:
            assert list(scores.values()) == pytest.approx([best] * len(scores), abs=1e-4), metric
        elif "@1" in metric or metric in ("token_f1", "names_truth", "edit_kept"):
            assert set(scores.values()) == {0.0}, (metric, who)
        elif direction(metric) < 0:
            assert min(scores.values()) > 0, metric
    assert all(
        value == pytest.approx(0, abs=1e-6)
        for (m, c), (value, _) in tally.sets.items()
        if m == "frechet" and c == MODEL
    )
    assert {skeleton_of(sample) for sample in samples} == {("image",), ("audio",), ("video",), ("text",)}


def test_the_report_is_drawn_from_the_catalog_and_the_same_each_time(
    checkpoint: Path, root: str, result: EvaluationResult, tmp_path: Path
) -> None:
    def files(name: str) -> dict[str, bytes]:
        write_report(checkpoint, root, tmp_path / name)
        return {
            str(p.relative_to(tmp_path / name)): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()
        }

    first = files("a")
    assert first == files("b")
    sheets = {f"{kind}/{task}.webp" for kind in ("sheets", "worst") for task in TASKS}
    assert set(first) == {"figures.md", "MODEL_CARD.md"} | sheets
    figures, card = first["figures.md"].decode(), first["MODEL_CARD.md"].decode()
    for task in TASKS:
        assert f"## {task}" in figures and f"| {task} |" in card
        for link in (f"sheets/{task}.webp", f"worst/{task}.webp"):
            assert link in figures
    value = tabled(result)[("text_to_image", "similarity", None)]
    assert f"| similarity | higher | 3 | {value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})" in figures
    assert "By number of demonstrations" in figures and f"{result.checkpoint_id}" in card
    assert "| licence | works | samples |" in card and "Corpora: " in card


def test_a_report_of_nothing_says_how_to_get_figures(checkpoint: Path, bench_root: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="run `codi2 evaluate` first"):
        write_report(checkpoint, bench_root, tmp_path)


def test_a_tie_is_wrong() -> None:
    row = np.array([1.0, 0.0], np.float32)
    assert not nearest_is_first(row, np.stack([row, row]))
    assert not nearest_is_first(np.zeros(2, np.float32), np.eye(2, dtype=np.float32))
    assert not nearest_is_first(row, row[None])
    assert nearest_is_first(row, np.eye(2, dtype=np.float32))
