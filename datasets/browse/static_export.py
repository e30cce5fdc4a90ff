"""Exports the page as a folder that needs no server: some samples of every task, with their media and lineage."""

from __future__ import annotations

import json
from typing import Any

from codi2_datasets.browse.contributed import ContributedViews
from codi2_datasets.browse.server import POLICY, index_page, page_files
from codi2_datasets.browse.view import BrowseError, View, address
from codi2_datasets.formats.sample import EXTENSIONS
from codi2_datasets.runtime.progress import progress
from codi2_storage.store import Store

REJECTS = 200
# the server's policy, for a page on disk; frame-ancestors is not allowed in a meta element
DISK_POLICY = POLICY.replace("'self'", "'self' file:").replace("; frame-ancestors 'none'", "")


def export_static(
    root: str, folder: str, build: str | None = None, samples: int = 300, views: ContributedViews | None = None
) -> str:
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
        **(views.export(root, target) if views else {}),
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
    for name, file in page_files(views).items():
        target.write_bytes(name, file.read_bytes())
    policy = f'<meta http-equiv="Content-Security-Policy" content="{DISK_POLICY}">'
    tags = (policy, '<script src="data.js" defer></script>')
    target.write_bytes("index.html", index_page(views, tags).encode())
    return target.uri("index.html")


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
