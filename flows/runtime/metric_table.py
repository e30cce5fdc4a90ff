"""The metrics of an evaluation as a table with one column for each baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def metrics_by_baseline(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each task and metric: the value of the model with its interval, then one column for each baseline."""
    names = sorted({row["baseline"] for row in rows if row["baseline"]})
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        empty = {"task": row["task"], "metric": row["metric"], "n": None, "model": None, "95 %": None}
        line = lines.setdefault((row["task"], row["metric"]), empty | dict.fromkeys(names))
        line[row["baseline"] or "model"] = rounded(row["value"])
        if not row["baseline"]:
            interval = None if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
            line |= {"n": row["n"], "95 %": interval}
    return [lines[key] for key in sorted(lines)]


def rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
