"""Metrics of a training run: journal, progress, TensorBoard, loss plot."""
