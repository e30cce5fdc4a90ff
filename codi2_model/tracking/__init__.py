"""Experiment trackers: training and evaluation report their metrics to those that CODI2_TRACKERS names, and to TensorBoard.

A tracker is one file in `backends/` with a `TRACKER`, a subclass of `Tracker`; adding a file registers it.
"""

from codi2_model.tracking.trackers import (
    TRACKERS,
    Point,
    TrackedRun,
    Tracker,
    Trackers,
    chosen_trackers,
    open_trackers,
)

__all__ = ["TRACKERS", "Point", "TrackedRun", "Tracker", "Trackers", "chosen_trackers", "open_trackers"]
