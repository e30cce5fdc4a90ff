"""The table of an evaluation's metrics."""

from __future__ import annotations

from codi2_flows.cli.output.tables import show


def show_metrics(rows: list[dict]) -> None:
    """Print a table of metrics with one column for each baseline."""
    lines: dict[tuple, dict] = {}
    for row in rows:
        line = lines.setdefault((row["task"], row["metric"]), {"task": row["task"], "metric": row["metric"]})
        line[row["baseline"] or "model"] = row["value"]
        if not row["baseline"]:
            line |= {"n": row["n"], "95 %": f"{row['low']:.2f}-{row['high']:.2f}" if row["low"] is not None else "-"}
    names = sorted({row["baseline"] for row in rows if row["baseline"]})
    show([lines[key] for key in sorted(lines)], ["task", "metric", "n", "model", "95 %", *names])
