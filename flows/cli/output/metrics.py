"""The table of an evaluation's metrics."""

from __future__ import annotations

from codi2_flows.cli.output.tables import show


def show_metrics(rows: list[dict]) -> None:
    """Print a table of metrics with one column for each baseline."""
    from codi2_model.evaluation.report.figures import beside_baselines

    columns, cells = beside_baselines(rows)
    show([dict(zip(columns, row, strict=True)) for row in cells], columns)
