"""MLflow: a run of the experiment `codi2`, by MLFLOW_TRACKING_URI on a server, else in files under ./mlruns.

MLFLOW_EXPERIMENT_NAME names another experiment.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from codi2_model.tracking.trackers import PROJECT, Point, TrackedRun, Tracker

LONGEST = 500  # characters of a parameter's value
MOST = 100  # parameters that a request may have


class MLflow(Tracker):
    package, distribution = "mlflow", "mlflow-skinny"

    def __init__(self, run: TrackedRun) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or Path("mlruns").absolute().as_uri()
        if uri.startswith("file:"):  # MLflow asks for this word since it prefers databases
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self.client.get_experiment_by_name(name)
        where = experiment.experiment_id if experiment else self.client.create_experiment(name)
        known = self.client.search_runs([where], f"tags.`codi2.run_id` = '{run.run_id}'", max_results=1)
        if known:
            self.id = known[0].info.run_id
            self.client.update_run(self.id, status="RUNNING")
            return
        self.id = self.client.create_run(where, tags=run.labels(), run_name=run.run_id).info.run_id
        parameters = [Param(key, str(value)[:LONGEST]) for key, value in run.parameters().items()]
        for start in range(0, len(parameters), MOST):
            self.client.log_batch(self.id, params=parameters[start : start + MOST])

    def log(self, point: Point) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        metrics = [Metric(allowed(name), value, now, point.step) for name, value in point.values.items()]
        for start in range(0, len(metrics), MOST):
            self.client.log_batch(self.id, metrics=metrics[start : start + MOST])

    def close(self, finished: bool) -> None:
        self.client.set_terminated(self.id, "FINISHED" if finished else "KILLED")


def allowed(name: str) -> str:
    """A metric's name in MLflow's alphabet: concept@1 -> concept_1."""
    return re.sub(r"[^\w\-. :/]", "_", name)


TRACKER = MLflow
