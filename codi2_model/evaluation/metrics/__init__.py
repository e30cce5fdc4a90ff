"""Metrics without a model: functions of arrays, each with the source of its formula."""
