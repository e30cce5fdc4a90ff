"""The metrics of an evaluation in experiment trackers: one run per checkpoint and suite, with the ids of its tasks' runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codi2_model.evaluation.bench.measures import GAIN
from codi2_model.tracking import Point, TrackedRun, open_trackers


def track_evaluation(
    suite: str, checkpoint_id: str, rows: Sequence[Mapping[str, Any]], runs: Mapping[str, str], build: str = ""
) -> None:
    """Report the model's values on the whole split: TASK/METRIC. runs: task -> run id in the catalog."""
    tags = {"checkpoint_id": checkpoint_id, "build_id": build, **{f"run_id.{task}": run for task, run in runs.items()}}
    run = TrackedRun(f"evaluate-{suite}-{checkpoint_id}", "evaluate", config={"suite": suite}, tags=tags)
    values = {
        f"{row['task']}/{row['metric']}": float(row["value"])
        for row in rows
        if row.get("baseline") is None and row["split"] == "test" and not row["metric"].endswith(GAIN)
    }
    with open_trackers(run) as trackers:
        trackers.log(Point(0, values))
