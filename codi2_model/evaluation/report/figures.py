"""Figures as tables: the model next to its baselines, also as Markdown, and by number of demonstrations."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from codi2_model.evaluation.bench.conditions import LEVELS, REMOVED, SHUFFLED
from codi2_model.evaluation.bench.measures import GAIN, HEADLINE, MEASURES, bare

BASELINES = ("chance", "copy_input", "nearest_train", REMOVED, SHUFFLED)
Rows = Sequence[Mapping[str, Any]]
MIN_PAIRS = 10
_LEVEL = re.compile(r"\[demos=(\d+)\]$")
_ORDER = {name: position for position, name in enumerate(MEASURES)}


def main_rows(rows: Rows) -> list[dict[str, Any]]:
    """Rows of the main measure of each task, the first of HEADLINE that it has, with those of its baselines."""
    by_task: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["split"] == "test" and row["metric"].rpartition(":")[2] in HEADLINE:
            by_task[row["task"]].append(dict(row))
    chosen = []
    for _, of_task in sorted(by_task.items()):
        own = {row["metric"] for row in of_task if row["baseline"] is None}
        metric = min(own, key=lambda name: (HEADLINE.index(bare(name)), name))
        chosen += [row for row in of_task if row["metric"] == metric]
    return chosen


def beside_baselines(rows: Rows) -> tuple[list[str], list[list[str]]]:
    """Columns and cells of a table with a line per (task, metric), the model next to its baselines."""
    names = sorted({row["baseline"] for row in rows if row["baseline"]})
    lines: dict[tuple[str, str], dict[str | None, Mapping[str, Any]]] = defaultdict(dict)
    for row in rows:
        lines[(row["task"], row["metric"])][row["baseline"]] = row
    cells = [
        [task, metric, str(next(iter(by.values()))["n"]), cell(by.get(None)), *(cell(by.get(name)) for name in names)]
        for (task, metric), by in sorted(lines.items())
    ]
    return ["task", "metric", "n", "model (95 %)", *names], cells


def task_table(rows: Rows, split: str = "test") -> list[str]:
    """Table of the measures of a task.

    A baseline is bold if the model is better: the interval of the paired gain is above 0, with at least MIN_PAIRS samples.
    """
    by_metric = {(r["metric"], r["baseline"]): r for r in rows if r["split"] == split and not _LEVEL.search(_plain(r))}
    metrics = sorted({_plain(r) for r in by_metric.values()}, key=lambda metric: (_ORDER.get(bare(metric), 99), metric))
    columns = [name for name in BASELINES if any((metric, name) in by_metric for metric in metrics)]
    lines = table_head(["measure", "better", "n", "model (95 %)", *columns])
    for metric in metrics:
        own = by_metric.get((metric, None))
        row = own or next(by_metric[(metric, name)] for name in columns if (metric, name) in by_metric)
        cells = [
            f"{metric}",
            "higher" if MEASURES[bare(metric)].higher_is_better else "lower",
            str(row["n"]),
            cell(own),
        ]
        for name in columns:
            gain = by_metric.get((metric + GAIN, name))
            beaten = gain is not None and gain["n"] >= MIN_PAIRS and gain["low"] is not None and gain["low"] > 0
            text = number(by_metric.get((metric, name)))
            cells.append(f"**{text}**" if beaten and text else text)
        lines.append(row_line(cells))
    return lines


def ladder_table(rows: Rows) -> list[str]:
    """Table of the measures by number of demonstrations, with equal samples in all columns; empty if there are none."""
    by_metric: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        level = _LEVEL.search(row["metric"])
        if level and row["split"] == "test" and row["baseline"] is None:
            by_metric.setdefault(_LEVEL.sub("", row["metric"]), {})[int(level[1])] = row
    levels = [level for level in LEVELS if any(level in by for by in by_metric.values())]
    if not levels:
        return []
    gains = {row["metric"]: row for row in rows if row["metric"].endswith(f"[demos={levels[-1]}]{GAIN}")}
    head = ["measure", "n", *(f"{level} demonstrations" for level in levels), f"paired gain of {levels[-1]} over 0"]
    lines = table_head(head)
    for metric in sorted(by_metric, key=lambda name: (_ORDER.get(bare(name), 99), name)):
        by = by_metric[metric]
        cells = [metric, str(next(iter(by.values()))["n"]), *(cell(by.get(level)) for level in levels)]
        lines.append(row_line([*cells, cell(gains.get(f"{metric}[demos={levels[-1]}]{GAIN}"))]))
    return lines


def published_table(rows: Rows) -> list[str]:
    """Table of published suites."""
    lines = table_head(["suite", "task", "measure", "baseline", "n", "value (95 %)"])
    for row in sorted(rows, key=lambda r: (r["suite"], r["task"], r["metric"], r["baseline"] or "")):
        cells = [row["suite"], row["task"], row["metric"], row["baseline"] or "", str(row["n"]), cell(row)]
        lines.append(row_line(cells))
    return lines


def legend() -> list[str]:
    """Table that explains all measures."""
    return ["| measure | meaning |", "|---|---|", *(f"| {name} | {m.description} |" for name, m in MEASURES.items())]


def table_head(columns: Sequence[str]) -> list[str]:
    """Header lines of a Markdown table."""
    return [row_line(columns), "|" + "---|" * len(columns)]


def row_line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def cell(row: Mapping[str, Any] | None) -> str:
    """A value with its interval."""
    if row is None or row["low"] is None:
        return number(row)
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def number(row: Mapping[str, Any] | None) -> str:
    """A value without its interval."""
    if row is None:
        return ""
    return f"{row['value']:.0f}" if bare(row["metric"]).startswith("test_targets") else f"{row['value']:.3f}"


def _plain(row: Mapping[str, Any]) -> str:
    return str(row["metric"]).removesuffix(GAIN)
