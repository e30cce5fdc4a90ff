"""What a Prefect server knows that the catalog does not: what comes next, what gave way, what never started. Imports no Prefect."""

from __future__ import annotations

import json
import os
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

PATIENCE = 5.0  # seconds for Prefect's server to answer
RECENT = timedelta(days=7)
LOOKED_AT = 200  # flow runs of a kind
GAVE_WAY = "Deployment concurrency limit"  # how Prefect's message begins


def address(root: str) -> str | None:
    """The API of $PREFECT_API_URL, else of a `codi2 server` of the root; None where there is none."""
    if base := os.environ.get("PREFECT_API_URL"):
        return base
    from codi2_flows.server.server import running_server_url

    found = running_server_url(root)
    return None if found is None else f"{found}/api"


def scheduled(base: str) -> list[dict[str, Any]]:
    """The next run of each flow."""
    first: dict[str, dict[str, Any]] = {}
    for run in flow_runs(base, {"type": {"any_": ["SCHEDULED"]}}, "EXPECTED_START_TIME_ASC"):
        first.setdefault(run["flow_id"], run)
    return named(base, list(first.values()))


def gave_way(base: str) -> list[dict[str, Any]]:
    """Runs of the last days that were cancelled before they began, since another of their deployment was under way."""
    runs = flow_runs(base, {"type": {"any_": ["CANCELLED"]}}, "EXPECTED_START_TIME_DESC")
    return named(base, [run for run in runs if why(run).startswith(GAVE_WAY)])


def never_started(base: str) -> list[dict[str, Any]]:
    """Runs of the last days that crashed before they began: no catalog knows of them."""
    runs = flow_runs(base, {"type": {"any_": ["CRASHED"]}}, "EXPECTED_START_TIME_DESC")
    return named(base, [run for run in runs if run["start_time"] is None])


def flow_runs(base: str, state: dict[str, Any], order: str) -> list[dict[str, Any]]:
    wanted: dict[str, Any] = {"state": state}
    if order.endswith("DESC"):
        wanted["expected_start_time"] = {"after_": (datetime.now(UTC) - RECENT).isoformat()}
    return ask(f"{base}/flow_runs/filter", {"flow_runs": wanted, "sort": order, "limit": LOOKED_AT})


def named(base: str, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Flow, name, time and reason of each."""
    ids = sorted({run["flow_id"] for run in runs})
    flows = ask(f"{base}/flows/filter", {"flows": {"id": {"any_": ids}}}) if ids else []
    names = {flow["id"]: flow["name"] for flow in flows}
    return [
        {"flow": names.get(run["flow_id"], ""), "name": run["name"], "at": run["expected_start_time"], "why": why(run)}
        for run in runs
    ]


def why(run: dict[str, Any]) -> str:
    """The first line of what Prefect says of the run's state."""
    lines = str((run["state"] or {}).get("message") or "").strip().splitlines()
    return lines[0] if lines else ""


def ask(url: str, content: dict[str, Any]) -> list[dict[str, Any]]:
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return list(json.loads(answer.read()))
