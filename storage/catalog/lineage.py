"""Lineage of a sample: sample -> part -> asset -> source row -> corpus revision, with every operator."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from codi2_storage.catalog.catalog import Catalog, CatalogError
from codi2_storage.host import child_processes

FOLDERS = ("storage", "datasets", "codi2_model", "flows")  # folders whose files decide the results


@cache
def code_version() -> str:
    """The package's version, with the commit if the code runs from a checkout: 0.1.0+d6fe583a1b2c.

    A checkout with uncommitted changes adds a hash of them: 0.1.0+d6fe583a1b2c.dirty.9f86d081. A container image holds
    no repository; there the commit comes from CODI2_COMMIT.
    """
    try:
        release = version("codi2-open")
    except PackageNotFoundError:
        release = "0"
    commit = checkout_version(Path(__file__).resolve().parents[2]) or os.environ.get("CODI2_COMMIT", "")
    return f"{release}+{commit}" if commit else release


def checkout_version(folder: Path) -> str:
    """The commit of a checkout, with a hash of its changes.

    Empty if the folder is no checkout, or this code is untracked in it.
    """
    ours = [name for name in FOLDERS if (folder / name).is_dir()]
    if not ours or not git(folder, "ls-files", "--", *ours):
        return ""
    commit = git(folder, "rev-parse", "--short=12", "HEAD").decode().strip()
    changes = hashlib.sha256(git(folder, "diff", "HEAD", "--no-ext-diff", "--binary", "--", *ours))
    new = git(folder, "ls-files", "-z", "--others", "--exclude-standard", "--", *ours).decode().split("\0")[:-1]
    for name in sorted(new):
        changes.update(name.encode() + b"\0" + (folder / name).read_bytes())
    clean = changes.digest() == hashlib.sha256().digest()
    return commit if clean else f"{commit}.dirty.{changes.hexdigest()[:8]}"


def git(folder: Path, *arguments: str) -> bytes:
    """The output of git in a folder; empty if git is not installed or the folder is no repository."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        return child_processes.run(command, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return b""


def explain(root: str, sample_id: str, build: str | None = None) -> dict[str, Any]:
    """The whole lineage of one sample as plain data. Raises CatalogError if there is no such sample."""
    catalog = Catalog(root)
    with catalog.connect(build) as connection:

        def rows(query: str, *params: object) -> list[dict[str, Any]]:
            return connection.execute(query, list(params)).to_arrow_table().to_pylist()

        matches = rows("select * from samples where sample_id = ? or starts_with(sample_id, ?)", sample_id, sample_id)
        if not matches:
            raise CatalogError(f"no sample {sample_id!r} in build {catalog.named(build) or '(none)'}")
        if len(matches) > 1:
            raise CatalogError(f"{len(matches)} samples begin with {sample_id!r}: give more of the id")
        sample = matches[0]
        parts = rows("select * from parts where sample_id = ? order by position", sample["sample_id"])
        seen: dict[str, dict[str, Any]] = {}
        for part in parts:
            if part["asset_id"]:
                part["asset"] = asset_lineage(rows, part["asset_id"], seen)
        build_id = sample["build_id"]
        return {
            "sample": {**sample, "meta": json.loads(sample["meta"] or "{}")},
            "parts": parts,
            "planned_by": rows("select * from op_runs where stage = 'plan' and op = ?", sample["task"]),
            "selected_by": rows("select * from op_runs where stage = 'select' order by op, params"),
            "written_by": rows("select * from op_runs where stage = 'write'"),
            "build": rows("select * exclude (spec) from builds where build_id = ?", build_id),
        }


def asset_lineage(rows: Any, asset_id: str, seen: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One asset with its source row, corpus, operators and signals.

    For a derived asset, the lineage of its inputs instead.
    """
    if asset_id in seen:
        return seen[asset_id]
    matches = rows('select * exclude ("text") from assets where asset_id = ?', asset_id)
    if not matches:
        raise CatalogError(f"asset {asset_id} is named by a part and is not in the catalog")
    asset = seen[asset_id] = matches[0]
    asset["attributes"] = json.loads(asset["attributes"] or "{}")
    if asset["op"]:
        asset["inputs"] = [asset_lineage(rows, item, seen) for item in asset["inputs"]]
        return asset
    asset["source_row"] = rows(
        """select s.*, c.source, c.version, c.sha256 as package_sha256 from source_rows s
           left join corpora c on c.corpus = s.corpus and c.revision = s.revision where s.source_row_id = ?""",
        asset["source_row_id"],
    )[0]
    partition = (asset["shard"] or "").removeprefix("assets/").removesuffix(".tar")
    asset["operators"] = rows(
        """select stage, op, op_version, params from op_runs
           where build_id = ? or (stage = 'enrich' and starts_with(build_id, ? || '-')) order by stage desc, op, op_version, params""",
        partition,
        partition,
    )
    asset["signals"] = rows(
        "select distinct op, name, value, text, len(vector) as numbers from signals where asset_id = ? order by op, name",
        asset_id,
    )
    return asset
