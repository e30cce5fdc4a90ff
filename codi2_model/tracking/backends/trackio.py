"""Trackio: a run of the project `codi2`, or of TRACKIO_PROJECT, in a local database, or in the Space of TRACKIO_SPACE_ID."""

from __future__ import annotations

import os

from codi2_model.tracking.trackers import PROJECT, Point, TrackedRun, Tracker


class Trackio(Tracker):
    package = "trackio"

    def __init__(self, run: TrackedRun) -> None:
        import trackio

        config = {name: value for name, value in {**run.parameters(), **run.labels()}.items()}
        self.run = trackio.init(os.environ.get("TRACKIO_PROJECT", PROJECT), name=run.run_id, group=run.kind, config=config,
                                resume="allow", embed=False, space_id=os.environ.get("TRACKIO_SPACE_ID"),
                                auto_log_gpu=False, auto_log_cpu=False)  # fmt: skip

    def log(self, point: Point) -> None:
        self.run.log(dict(point.values), step=point.step)

    def close(self, finished: bool) -> None:
        self.run.finish()


TRACKER = Trackio
