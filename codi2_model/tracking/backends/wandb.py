"""Weights & Biases: a run of the project `codi2`, or of WANDB_PROJECT. WANDB_MODE=offline writes files only."""

from __future__ import annotations

import os

from codi2_model.tracking.trackers import PROJECT, Point, TrackedRun, Tracker


class WeightsAndBiases(Tracker):
    package = "wandb"

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        config = {**run.parameters(), **run.labels()}
        self.run = wandb.init(project=os.environ.get("WANDB_PROJECT", PROJECT), id=run.run_id, name=run.run_id,
                              job_type=run.kind, config=config, resume="allow")  # fmt: skip
        self.axes: set[str] = set()

    def log(self, point: Point) -> None:
        """Log with a step per stage: the run's own step may only grow, and every stage begins at 0."""
        stages = {name.partition("/")[0] for name in point.values}
        for stage in stages - self.axes:
            self.run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        self.axes |= stages
        self.run.log({**point.values, **{f"{stage}/step": point.step for stage in stages}})

    def close(self, finished: bool) -> None:
        self.run.finish(exit_code=0 if finished else 1)


TRACKER = WeightsAndBiases
