"""The figures as Markdown: a table a task with the model beside its baselines, a table of demonstrations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from codi2_model.evaluation.bench.conditions import LEVELS, REMOVED, SHUFFLED
from codi2_model.evaluation.bench.measures import GAIN, MEASURES, bare

BASELINES = ("chance", "copy_input", "nearest_train", REMOVED, SHUFFLED)
Rows = Sequence[Mapping[str, Any]]
ENOUGH = 10
_LEVEL = re.compile(r"\[demos=(\d+)\]$")
_ORDER = {name: place for place, name in enumerate(MEASURES)}


def task_table(rows: Rows, split: str = "test") -> list[str]:
    """One task's measures; a baseline in bold is beaten by the model: the interval of the paired gain lies above 0, over
    enough samples for an interval to mean anything."""
    found = {(r["metric"], r["baseline"]): r for r in rows if r["split"] == split and not _LEVEL.search(_plain(r))}
    metrics = sorted({_plain(r) for r in found.values()}, key=lambda metric: (_ORDER.get(bare(metric), 99), metric))
    columns = [name for name in BASELINES if any((metric, name) in found for metric in metrics)]
    lines = table_head(["measure", "better", "n", "model (95 %)", *columns])
    for metric in metrics:
        own = found.get((metric, None))
        known = own or next(found[(metric, name)] for name in columns if (metric, name) in found)
        cells = [f"{metric}", "more" if MEASURES[bare(metric)].higher_is_better else "less", str(known["n"]), cell(own)]
        for name in columns:
            gain = found.get((metric + GAIN, name))
            beaten = gain is not None and gain["n"] >= ENOUGH and gain["low"] is not None and gain["low"] > 0
            text = number(found.get((metric, name)))
            cells.append(f"**{text}**" if beaten and text else text)
        lines.append(row_line(cells))
    return lines


def ladder_table(rows: Rows) -> list[str]:
    """The model's measures by number of demonstrations, the same samples in every column; empty where there are none."""
    found: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        level = _LEVEL.search(row["metric"])
        if level and row["split"] == "test" and row["baseline"] is None:
            found.setdefault(_LEVEL.sub("", row["metric"]), {})[int(level[1])] = row
    levels = [level for level in LEVELS if any(level in by for by in found.values())]
    if not levels:
        return []
    gains = {row["metric"]: row for row in rows if row["metric"].endswith(f"[demos={levels[-1]}]{GAIN}")}
    head = ["measure", "n", *(f"{level} shown" for level in levels), f"{levels[-1]} over none, in pairs"]
    lines = table_head(head)
    for metric in sorted(found, key=lambda name: (_ORDER.get(bare(name), 99), name)):
        by = found[metric]
        cells = [metric, str(next(iter(by.values()))["n"]), *(cell(by.get(level)) for level in levels)]
        lines.append(row_line([*cells, cell(gains.get(f"{metric}[demos={levels[-1]}]{GAIN}"))]))
    return lines


def published_table(rows: Rows) -> list[str]:
    """Figures of published suites, as they were measured here."""
    lines = table_head(["suite", "task", "measure", "baseline", "n", "value (95 %)"])
    for row in sorted(rows, key=lambda r: (r["suite"], r["task"], r["metric"], r["baseline"] or "")):
        cells = [row["suite"], row["task"], row["metric"], row["baseline"] or "", str(row["n"]), cell(row)]
        lines.append(row_line(cells))
    return lines


def legend() -> list[str]:
    return ["| measure | says |", "|---|---|", *(f"| {name} | {m.says} |" for name, m in MEASURES.items())]


def table_head(columns: Sequence[str]) -> list[str]:
    return [row_line(columns), "|" + "---|" * len(columns)]


def row_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def cell(row: Mapping[str, Any] | None) -> str:
    if row is None or row["low"] is None:
        return number(row)
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def number(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['value']:.0f}" if bare(row["metric"]).startswith("test_targets") else f"{row['value']:.3f}"


def _plain(row: Mapping[str, Any]) -> str:
    return str(row["metric"]).removesuffix(GAIN)
