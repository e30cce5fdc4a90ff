"""Plots of a build as SVG: samples per task, demonstrations per sample, and works per corpus."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from codi2_datasets.formats.sample import SPLITS
from codi2_datasets.publishing.figures import find_works, rows

COLOURS = ("#28507f", "#c8502d", "#8a9a5b", "#b08fc7")
MODALITIES = ("image", "audio", "video", "text")
# text as outlines: the same rendering everywhere, and no font name in the file
STYLE: dict[Any, Any] = {"svg.hashsalt": "codi2", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 9}

Counts = Mapping[str, Mapping[str, int]]


def plots(connection: duckdb.DuckDBPyConnection) -> dict[str, bytes]:
    """SVG files by name. Their bytes depend only on the counts and on matplotlib's version."""
    samples = "select task as name, split as kind, count(*) as n from samples group by all order by all"
    demos = """select n_demos::varchar as name, if(split = 'train', 'train', 'held out') as kind, count(*) as n
               from samples where n_demos > 0 group by n_demos, kind order by n_demos, kind"""
    works = "select corpus as name, modality as kind, count(*) as n from works group by all order by all"
    find_works(connection)
    return {
        "samples.svg": bars(counted(connection, samples), SPLITS, "samples of each task"),
        "demonstrations.svg": bars(
            counted(connection, demos), ("train", "held out"), "samples by demonstrations shown"
        ),
        "works.svg": bars(counted(connection, works), MODALITIES, "works of each corpus that samples show"),
    }


def counted(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, dict[str, int]]:
    """Rows (name, kind, n) as name -> kind -> n, in order."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows(connection, query):
        counts.setdefault(row["name"] or "unknown", {})[row["kind"]] = row["n"]
    return counts


def bars(counts: Counts, kinds: Sequence[str], title: str) -> bytes:
    """Horizontal bars, one per name, stacked by kind, with their totals."""
    import matplotlib  # half a second, which builds that publish nothing do not need
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 0.9 + 0.26 * max(len(counts), 1)), layout="constrained")
        axes = figure.add_subplot()
        left = dict.fromkeys(counts, 0)
        for kind, colour in zip(kinds, COLOURS, strict=False):
            widths = [counts[name].get(kind, 0) for name in counts]
            if any(widths):
                axes.barh([*counts], widths, left=[*left.values()], color=colour, label=kind, height=0.7)
            left = {name: left[name] + width for name, width in zip(counts, widths, strict=True)}
        for place, total in enumerate(left.values()):
            axes.annotate(f"{total:,}", (total, place), (4, 0), textcoords="offset points", va="center", color="#555")
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12 * max([*left.values(), 1]))  # room for the last total
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_title(title, loc="left", fontsize=10)
        if counts:
            axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
