"""Metrics of a training run: journal, progress, loss plot."""
