"""What a run made, on Prefect's page of it: the funnel of a build, its plots and contact sheet, figures, the gate, links.

Nothing where no Prefect server is configured. What cannot be shown is a line in the log, and never breaks the run.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import base64
import io
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, ParamSpec

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL

from codi2_datasets.media.image import decode_image
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

log = logging.getLogger("codi2.artifacts")
Parameters = ParamSpec("Parameters")
SIDE, QUALITY = 900, 70  # pixels and WebP quality of the pictures shown: they travel within the text
SHEETS = 2
STAGES = ("ingest", "enrich", "select", "plan", "write")


def shown(show: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """What shows something on Prefect's page: within a run, where a server is configured."""

    @wraps(show)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        if not PREFECT_API_URL.value() or FlowRunContext.get() is None:
            return
        try:
            show(*args, **kwargs)
        except Exception as error:  # the server is away, a table is new to this version: the run goes on
            log.warning("%s is not on Prefect's page: %s", show.__name__.replace("_", " "), error)

    return guarded


def build_artifacts(root: str, build_id: str) -> None:
    """All that there is to see of a build."""
    funnel_artifact(root, build_id)
    preview_artifact(root, build_id)


@shown
def funnel_artifact(root: str, build_id: str) -> None:
    """Rows in, rejected, failed and out of every step and task; samples by split."""
    catalog = Catalog(root)
    rows = funnel(catalog, build_id)
    create_table_artifact(rows, key="funnel", description=f"Funnel of build {build_id}: in = out + rejected + failed")
    samples = catalog.sql(
        "select task, split, count(*)::bigint as samples from samples group by all order by all", build=build_id
    )
    create_table_artifact(samples.to_pylist(), key="samples", description=f"Samples of build {build_id}")


@shown
def preview_artifact(root: str, build_id: str) -> None:
    """Plots and contact sheets, small, and where all of it lies."""
    store = Store(root)
    folder = f"builds/{build_id}"
    names = store.list(folder)
    plots = [name for name in names if name.endswith(".svg")]
    sheets = [name for name in names if "/sheets/" in name and name.endswith(".png")]
    parts = [f"# Build {build_id}", f"`{store.uri(folder)}`, in `codi2 browse --root {store.uri()}`"]
    parts += [f"## {stem(name)}\n\n{picture(store.read_bytes(name), name)}" for name in plots]
    parts += [f"## {stem(name)}\n\n{picture(store.read_bytes(name), name)}" for name in sheets[:SHEETS]]
    create_markdown_artifact(
        "\n\n".join(parts), key="build", description=f"Plots and contact sheets of build {build_id}"
    )


@shown
def figures(rows: Sequence[dict[str, Any]], checkpoint_id: str, page: str | None = None) -> None:
    """Metrics of an evaluation, each beside its baselines."""
    create_table_artifact(
        metrics_by_baseline(rows), key="figures", description=f"Figures of {checkpoint_id}; page: {page}"
    )


@shown
def gate_artifact(lines: Iterable[dict[str, Any]], promoted: bool, reason: str) -> None:
    """Candidate against champion, metric by metric, and what was decided."""
    verdict = "promoted" if promoted else "not promoted"
    text = f"# {verdict}\n\n{reason}\n\n{table(list(lines))}"
    create_markdown_artifact(text, key="gate", description=f"{verdict}: {reason}")


@shown
def link(key: str, address: str, says: str) -> None:
    """A place to look, under its own key."""
    create_markdown_artifact(f"[{says}]({address})", key=key, description=says)


def funnel(catalog: Catalog, build_id: str) -> list[dict[str, Any]]:
    """The ledger of a build in the order of its steps."""
    query = """select stage, op, sum(rows_in)::bigint as rows_in, sum(rejected)::bigint as rejected,
               sum(failed)::bigint as failed, sum(rows_out)::bigint as rows_out, round(sum(seconds), 1) as seconds
               from op_runs group by all order by stage, op"""
    rows = catalog.sql(query, build=build_id).to_pylist()
    order = {stage: place for place, stage in enumerate(STAGES)}
    return sorted(rows, key=lambda row: (order.get(row["stage"], len(order)), row["op"]))


def metrics_by_baseline(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each task and metric: the model's value with its interval, then one column a baseline."""
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


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a Markdown table."""
    if not rows:
        return ""
    columns = list(rows[0])
    head = [" | ".join(columns), " | ".join("---" for _ in columns)]
    body = [" | ".join(str("" if row[name] is None else rounded(row[name])) for name in columns) for row in rows]
    return "\n".join(f"| {line} |" for line in (*head, *body))


def rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def picture(data: bytes, name: str) -> str:
    """A picture within the text: as it is where it is drawn in vectors, else made small."""
    if name.endswith(".svg"):
        return f"![{stem(name)}](data:image/svg+xml;base64,{base64.b64encode(data).decode()})"
    image = decode_image(data)
    image.thumbnail((SIDE, SIDE))
    small = io.BytesIO()
    image.save(small, "WEBP", quality=QUALITY)
    return f"![{stem(name)}](data:image/webp;base64,{base64.b64encode(small.getvalue()).decode()})"


def stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0].replace("_", " ")


def slug(text: str) -> str:
    """A key as Prefect takes it: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
