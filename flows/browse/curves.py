"""Loss curves of a training run, from its folder, thinned for plotting."""

from __future__ import annotations

import json
from typing import Any

from codi2_storage.store import Store

POINTS = 200  # maximum per curve
NOT_LOSSES = {"stage", "step", "split", "lr", "seconds", "data_wait", "grad_norm", "n"}


def curves_of(store: Store, run_id: str) -> list[dict[str, Any]]:
    """A curve for each stage, split and loss: `points` are (step, value). Empty if the run logged none."""
    path = f"runs/{run_id}/metrics.jsonl"
    if not store.exists(path):
        return []
    lines: dict[tuple[str, str, str], list[tuple[int, float]]] = {}
    for text in store.read_bytes(path).decode("utf-8", "replace").splitlines():
        try:
            row = json.loads(text)
        except ValueError:  # a last line that is being written
            break
        for name, value in row.items():
            if name not in NOT_LOSSES and isinstance(value, int | float):
                lines.setdefault((row["stage"], row["split"], name), []).append((row["step"], value))
    return [
        {"stage": stage, "split": split, "name": name, "points": thinned(points)}
        for (stage, split, name), points in lines.items()
    ]


def thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `POINTS` of them, evenly spaced, including the last."""
    if len(points) <= POINTS:
        return points
    step = (len(points) - 1) / (POINTS - 1)
    return [points[round(n * step)] for n in range(POINTS)]
