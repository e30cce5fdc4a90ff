"""Prefect artifacts of a run: funnel, plots and contact sheets of a build; metrics of an evaluation; the gate's table.

Without a configured Prefect server these functions do nothing. An artifact that cannot be created is logged as a warning
and never breaks the run.
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

from codi2_datasets.media.image import decode_image
from codi2_flows.runtime.temporary_server import server_configured
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

log = logging.getLogger("codi2.artifacts")
Parameters = ParamSpec("Parameters")
SIDE, QUALITY = 900, 70  # largest side in pixels and WebP quality of images, which are inlined in the Markdown
SHEETS = 2
STAGES = ("ingest", "enrich", "select", "plan", "write")


def artifact(create: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Decorator: call the function only within a flow run with a configured server, and log its errors."""

    @wraps(create)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        if not server_configured() or FlowRunContext.get() is None:
            return
        try:
            create(*args, **kwargs)
        except Exception as error:  # for example an unreachable server: the run continues
            log.warning("cannot create the artifact %s: %s", create.__name__.removesuffix("_artifact"), error)

    return guarded


def build_artifacts(root: str, build_id: str) -> None:
    """Create every artifact of a build."""
    funnel_artifact(root, build_id)
    preview_artifact(root, build_id)


@artifact
def funnel_artifact(root: str, build_id: str) -> None:
    """Rows in, rejected, failed and out of every step and task; samples of each task and split."""
    catalog = Catalog(root)
    rows = funnel(catalog, build_id)
    create_table_artifact(rows, key="funnel", description=f"Funnel of build {build_id}: in = out + rejected + failed")
    samples = catalog.sql(
        "select task, split, count(*)::bigint as samples from samples group by all order by all", build=build_id
    )
    create_table_artifact(samples.to_pylist(), key="samples", description=f"Samples of build {build_id}")


@artifact
def preview_artifact(root: str, build_id: str) -> None:
    """Plots and contact sheets at a small size, with the folder of the build."""
    store = Store(root)
    folder = f"builds/{build_id}"
    names = store.list(folder)
    plots = [name for name in names if name.endswith(".svg")]
    sheets = [name for name in names if "/sheets/" in name and name.endswith(".png")]
    parts = [f"# Build {build_id}", f"`{store.uri(folder)}`, in `codi2 browse --root {store.uri()}`"]
    parts += [f"## {stem(name)}\n\n{inline_image(store.read_bytes(name), name)}" for name in plots]
    parts += [f"## {stem(name)}\n\n{inline_image(store.read_bytes(name), name)}" for name in sheets[:SHEETS]]
    create_markdown_artifact(
        "\n\n".join(parts), key="build", description=f"Plots and contact sheets of build {build_id}"
    )


@artifact
def metrics_artifact(rows: Sequence[dict[str, Any]], checkpoint_id: str, page: str | None = None) -> None:
    """Metrics of an evaluation with their baselines."""
    create_table_artifact(
        metrics_by_baseline(rows), key="figures", description=f"Metrics of {checkpoint_id}; page: {page}"
    )


@artifact
def gate_artifact(lines: Iterable[dict[str, Any]], promoted: bool, reason: str) -> None:
    """The gate's decision, and candidate against champion for each metric."""
    decision = "promoted" if promoted else "not promoted"
    text = f"# {decision}\n\n{reason}\n\n{markdown_table(list(lines))}"
    create_markdown_artifact(text, key="gate", description=f"{decision}: {reason}")


def funnel(catalog: Catalog, build_id: str) -> list[dict[str, Any]]:
    """The ledger of a build (in = out + rejected + failed), in the order of the steps."""
    query = """select stage, op, sum(rows_in)::bigint as rows_in, sum(rejected)::bigint as rejected,
               sum(failed)::bigint as failed, sum(rows_out)::bigint as rows_out, round(sum(seconds), 1) as seconds
               from op_runs group by all order by stage, op"""
    rows = catalog.sql(query, build=build_id).to_pylist()
    order = {stage: place for place, stage in enumerate(STAGES)}
    return sorted(rows, key=lambda row: (order.get(row["stage"], len(order)), row["op"]))


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


def markdown_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a Markdown table."""
    if not rows:
        return ""
    columns = list(rows[0])
    head = [" | ".join(columns), " | ".join("---" for _ in columns)]
    body = [" | ".join(str("" if row[name] is None else rounded(row[name])) for name in columns) for row in rows]
    return "\n".join(f"| {line} |" for line in (*head, *body))


def rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def inline_image(data: bytes, name: str) -> str:
    """An image as Markdown with a data URL. SVG stays as it is; other formats are scaled down and become WebP."""
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
    """A valid Prefect artifact key: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
