"""The views *Runs* and *Lineage* of `codi2 browse`: their routes, and their content in a static export."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from codi2_datasets.browse.contributed import ContributedViews
from codi2_datasets.browse.server import FRESH, Limit, Name, Offset, chosen, ranged
from codi2_flows.browse.runs import RUN_FACETS, SHEET, Runs
from codi2_storage.store import Store

RUNS, MODELS = 60, 12  # in a static export
# an evaluation's page has inline styles and no script
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def add_routes(app: FastAPI, root: str) -> None:
    """Add the routes for runs, and for the files of evaluations."""
    runs = Runs(root)

    @app.get("/api/runs")
    def listed(request: Request, offset: Offset = 0, limit: Limit = 12) -> dict:
        return runs.runs(chosen(request, RUN_FACETS), offset, limit)

    @app.get("/api/runs/{run_id}")
    def run(run_id: Name) -> dict:
        return runs.run(run_id)

    @app.get("/api/models/{checkpoint_id}")
    def model(checkpoint_id: Name) -> dict:
        return runs.model(checkpoint_id)

    for path, rows in (("gates", runs.gates), ("history", runs.history), ("models", runs.models)):
        app.get(f"/api/{path}")(rows)

    @app.get("/evaluations/{run_id}/{name:path}")
    def evaluation(run_id: Name, name: str, request: Request) -> Response:
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        response = ranged(runs.file(run_id, name), media_type, request.headers.get("range"))
        response.headers.update(FRESH | {"Content-Security-Policy": PAGE_POLICY})  # the page may be rewritten
        return response


def export(root: str, target: Store) -> dict[str, Any]:
    """The latest runs, decisions, builds and models. Contact sheets are written beside the page."""
    runs = Runs(root)
    listed = runs.runs({}, limit=RUNS)["runs"]
    models = runs.models()[:MODELS]
    details = {row["run_id"]: runs.run(row["run_id"]) for row in listed}
    for run_id, details_of_run in details.items():
        details_of_run.pop("page", None)  # it has a folder of its own, which is too large to copy
        if "sheet" in details_of_run:
            target.write_bytes(details_of_run["sheet"], runs.file(run_id, SHEET))
    return {
        "runs": listed,
        "details": details,
        "gates": runs.gates(),
        "history": runs.history(),
        "models": models,
        "lineages": {row["checkpoint_id"]: runs.model(row["checkpoint_id"]) for row in models},
    }


VIEWS = ContributedViews(Path(__file__).parent / "page", ("gates.js", "runs.js", "model.js"), add_routes, export)
