"""Exports the page as a folder that needs no server: some samples of every task, with their media and lineage."""

from __future__ import annotations

import json
import shutil
from typing import Any

from codi2_datasets.browse.runs import SHEET, Runs
from codi2_datasets.browse.server import PAGE, POLICY
from codi2_datasets.browse.view import BrowseError, View, address
from codi2_datasets.formats.sample import EXTENSIONS
from codi2_datasets.runtime.progress import progress
from codi2_storage.store import Store

REJECTS = 200
RUNS, MODELS = 60, 12
# the server's policy, for a page on disk; frame-ancestors is not allowed in a meta element
DISK_POLICY = POLICY.replace("'self'", "'self' file:").replace("; frame-ancestors 'none'", "")


def export_static(root: str, folder: str, build: str | None = None, samples: int = 300) -> str:
    """Write the folder; the same build gives the same files. Returns the URL of its page.

    The samples are distributed evenly over tasks and splits, the first of each by id, which is a hash.
    """
    view, target = View(root, build), Store(folder)
    names = spread(view, samples)
    shown = view.with_parts(names)
    data: dict[str, Any] = {
        "about": view.about(),
        "builds": view.builds(),
        "samples": shown,
        "lineage": {},
        "rejects": view.rejects({}, limit=REJECTS)["rejects"],
        "statistics": view.statistics(),
        "ledger": view.ledger(),
        **ran(Runs(root), target),
    }
    written: set[str] = set()
    with progress("browse", len(names), "samples") as advance:
        for name in names:
            data["lineage"][name] = view.lineage(name)
            for asset_id, modality in media_of(data["lineage"][name]["parts"]):
                save(view, target, asset_id, modality, written)
            advance(1)
    for row in data["rejects"]:
        if "media" in row:
            save(view, target, row["media"].split("/")[-1].split(".")[0], row["modality"], written)
    # a script rather than JSON: pages opened from disk must not use fetch
    content = json.dumps(data, ensure_ascii=False, default=str).replace("<", "\\u003c").replace("\u2028", "\\u2028")
    target.write_bytes("data.js", f"window.CODI2 = {content};\n".encode())
    for file in sorted(PAGE.iterdir()):
        if file.suffix in (".js", ".css"):
            with file.open("rb") as source, target.fs.open(target.path(file.name), "wb") as copy:
                shutil.copyfileobj(source, copy)
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    head = f"""<meta http-equiv="Content-Security-Policy" content="{DISK_POLICY}">\n<script src="data.js" defer></script>"""
    target.write_bytes("index.html", html.replace("<!-- data -->", head).encode())
    return target.uri("index.html")


def ran(runs: Runs, target: Store) -> dict[str, Any]:
    """The latest runs, decisions, builds and models. Contact sheets are written beside the page."""
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


def spread(view: View, samples: int) -> list[str]:
    rows = view.rows(
        """select sample_id from s
           order by row_number() over (partition by task, split order by sample_id),
                    row_number() over (partition by split order by sample_id), sample_id limit ?""",
        samples,
    )
    return sorted(row["sample_id"] for row in rows)


def media_of(parts: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(asset, modality) of all media that parts show, and of those they were derived from."""
    media = []
    queue = [part["asset"] for part in parts if part.get("asset")]
    while queue:
        asset = queue.pop()
        media.append((asset["asset_id"], asset["modality"]))
        queue += [item for item in asset.get("inputs") or [] if isinstance(item, dict)]
    return media


def save(view: View, target: Store, asset_id: str, modality: str, written: set[str]) -> None:
    if modality not in EXTENSIONS or asset_id in written:
        return
    written.add(asset_id)
    try:
        data, _ = view.medium(asset_id)
    except BrowseError:  # made for a sample that was not written
        return
    target.write_bytes(address(asset_id, modality), data)
