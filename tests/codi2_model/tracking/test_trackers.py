"""Trackers, with their real libraries where they are installed: what was logged is read back, under the run's own id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codi2_model.evaluation.report.tracking import track_evaluation
from codi2_model.tracking import Point, TrackedRun, Trackers, chosen_trackers, open_trackers
from codi2_storage.errors import UsageError

CONFIG = {"preset": "tiny", "mllm": {"steps": 4, "tasks": {"draw": 1}}}
POINTS = [Point(1, {"align/train/loss": 3.0}), Point(2, {"align/train/loss": 2.0}), Point(1, {"mllm/train/loss": 5.0})]


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TrackedRun]:
    """`tracked(name, points)` logs to one tracker, whose files are under tmp_path, and returns the run."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, points: list[Point], **environment: str) -> TrackedRun:
        for key, value in {"CODI2_TRACKERS": name, **environment}.items():
            monkeypatch.setenv(key, value)
        run = TrackedRun("train-abc", "train", tmp_path / "train-abc", CONFIG, {"build_id": "b1"})
        with open_trackers(run) as trackers:
            for point in points:
                trackers.log(point)
        return run

    return call


def test_mlflow_keeps_a_run_in_files_that_a_resumed_run_continues(tracked: Any, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    tracked("mlflow", POINTS[:1])
    tracked("mlflow", POINTS[1:])
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"file://{tmp_path}/mlruns")
    experiment = client.get_experiment_by_name("codi2")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("train-abc", "FINISHED")
    assert run.data.tags["codi2.run_id"] == "train-abc" and run.data.tags["codi2.build_id"] == "b1"
    assert run.data.params["mllm.tasks.draw"] == "1"
    history = client.get_metric_history(run.info.run_id, "align/train/loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 3.0), (2, 2.0)]


def test_trackio_keeps_a_run_in_its_database(tracked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read at the import, which nothing else does
    pytest.importorskip("trackio", reason="Trackio is not installed")
    from trackio.sqlite_storage import SQLiteStorage

    tracked("trackio", POINTS)
    rows = SQLiteStorage.get_logs("codi2", "train-abc")
    assert [(row["step"], row.get("align/train/loss"), row.get("mllm/train/loss")) for row in rows] == [
        (1, 3.0, None), (2, 2.0, None), (1, None, 5.0)]  # fmt: skip
    config = SQLiteStorage.get_run_config("codi2", "train-abc")
    assert config is not None and config["codi2.run_id"] == "train-abc" and config["mllm.steps"] == 4


def test_weights_and_biases_writes_a_run_offline(tracked: Any, tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    from wandb.proto.wandb_internal_pb2 import Record

    tracked("wandb", POINTS, WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=str(tmp_path))
    wandb.teardown()  # its service ends, and with it what it writes
    (file,) = tmp_path.glob("wandb/offline-run-*-train-abc/run-train-abc.wandb")
    records = [Record.FromString(data) for data in leveldb_records(file.read_bytes())]
    started = next(record.run for record in records if record.HasField("run"))
    values = {item.key or "/".join(item.nested_key): item.value_json for item in started.config.update}
    assert (started.run_id, values["codi2.build_id"]) == ("train-abc", '"b1"')
    rows = [
        {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    assert [(float(row["align/step"]), float(row["align/train/loss"])) for row in rows[:2]] == [(1, 3), (2, 2)]
    assert float(rows[2]["mllm/step"]) == 1


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """The records of a short LevelDB log, in which each is whole: after 7 bytes of the file's own, checksum, length, type."""
    place = 7
    while place + 7 <= len(data):
        length = int.from_bytes(data[place + 4 : place + 6], "little")
        if data[place + 6] == 1:
            yield data[place + 7 : place + 7 + length]
        place += 7 + length


def test_tensorboard_begins_again_with_the_points_that_are_kept(tracked: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    run = tracked("tensorboard", POINTS)
    (first,) = (tmp_path / "train-abc" / "tensorboard").glob("events.*")
    assert b"mllm/train/loss" in first.read_bytes()
    with open_trackers(run) as trackers:
        trackers.rewind(POINTS[:1])
    (second,) = (tmp_path / "train-abc" / "tensorboard").glob("events.*")
    assert b"align/train/loss" in second.read_bytes() and b"mllm/train/loss" not in second.read_bytes()


def test_an_evaluation_reports_the_models_values_with_the_runs_of_its_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("CODI2_TRACKERS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/store")
    row = {"task": "draw", "split": "test", "baseline": None}
    rows = [{**row, "metric": "concept@1", "value": 0.5}, {**row, "metric": "concept@1.gain", "value": 0.1},
            {**row, "metric": "concept@1", "value": 0.2, "baseline": "chance"}]  # fmt: skip
    track_evaluation("quick", "c" * 16, rows, {"draw": "evaluate-quick-1"}, "b1")
    client = MlflowClient(f"file://{tmp_path}/store")
    (run,) = client.search_runs([client.get_experiment_by_name("codi2").experiment_id])
    assert run.data.metrics == {"draw/concept_1": 0.5}
    assert run.data.tags["codi2.run_id.draw"] == "evaluate-quick-1" and run.data.tags["codi2.build_id"] == "b1"


def test_a_tracker_that_is_unknown_or_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODI2_TRACKERS", "mlflw")
    with pytest.raises(UsageError, match=r"unknown tracker 'mlflw'; known: mlflow, .*; did you mean mlflow\?"):
        chosen_trackers()
    monkeypatch.setenv("CODI2_TRACKERS", "wandb")
    monkeypatch.setattr("codi2_model.tracking.trackers.find_spec", lambda package: None)
    with pytest.raises(UsageError, match=r"wandb needs the package wandb: pip install 'codi2-open\[wandb\]'"):
        chosen_trackers()


def test_a_tracker_that_fails_is_reported_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    class Failing:
        package = "broken"

        def log(self, point: Point) -> None:
            raise ConnectionError("no server")

    class Counting:
        package = "counting"
        points = 0

        def log(self, point: Point) -> None:
            self.points += 1

    counting = Counting()
    trackers = Trackers([Failing(), counting])  # type: ignore[list-item]
    for point in POINTS:
        trackers.log(point)
    assert counting.points == 3
    assert capsys.readouterr().err.count("tracker broken failed and is left out: no server") == 1
