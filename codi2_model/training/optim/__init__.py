"""Optimizers, the moving average of weights, and the guard against gradient spikes."""
