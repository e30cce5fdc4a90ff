"""Trackers. Each is one file with a `TRACKER`, a subclass of `Tracker`; its library is imported when a run is opened."""
