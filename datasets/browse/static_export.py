"""The page as a folder that needs no server: some samples of every task, with their media and their lineage."""

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
# the server's, for a page that lies on a disk; where it is framed is not for a page to say
DISK_POLICY = POLICY.replace("'self'", "'self' file:").replace("; frame-ancestors 'none'", "")


def export_static(root: str, folder: str, build: str | None = None, samples: int = 300) -> str:
    """Write the folder; the same build gives the same files. Returns the address of its page.

    The samples are spread evenly over tasks and splits, the first of each by id, which is a hash.
    """
    view, target = View(root, build), Store(folder)
    names = spread(view, samples)
    told = view.told(names)
    data: dict[str, Any] = {
        "about": view.about(),
        "builds": view.builds(),
        "samples": told,
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
    # as a script and not as JSON: pages opened from a disk may not fetch
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
    """What ran, decisions, builds over time and models, the latest of each; contact sheets are written beside the page."""
    listed = runs.runs({}, limit=RUNS)["runs"]
    models = runs.models()[:MODELS]
    details = {row["run_id"]: runs.run(row["run_id"]) for row in listed}
    for run_id, told in details.items():
        told.pop("page", None)  # it has a folder of its own, too large to come along
        if "sheet" in told:
            target.write_bytes(told["sheet"], runs.file(run_id, SHEET))
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
    """(asset, modality) of all media that parts show, and of those that they were made of."""
    found = []
    queue = [part["asset"] for part in parts if part.get("asset")]
    while queue:
        asset = queue.pop()
        found.append((asset["asset_id"], asset["modality"]))
        queue += [item for item in asset.get("inputs") or [] if isinstance(item, dict)]
    return found


def save(view: View, target: Store, asset_id: str, modality: str, written: set[str]) -> None:
    if modality not in EXTENSIONS or asset_id in written:
        return
    written.add(asset_id)
    try:
        data, _ = view.medium(asset_id)
    except BrowseError:  # made for a sample that was not written
        return
    target.write_bytes(address(asset_id, modality), data)
