"""Flow runs that only a Prefect server has: scheduled, skipped, and never started. Does not import Prefect."""

from __future__ import annotations

import json
import os
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

TIMEOUT = 5.0  # seconds
RECENT = timedelta(days=7)
LIMIT = 200  # flow runs of one query
GAVE_WAY = "Deployment concurrency limit"  # start of Prefect's message


def api_url(root: str) -> str | None:
    """The API of $PREFECT_API_URL, else of a running `codi2 server` for the root, else None."""
    if base := os.environ.get("PREFECT_API_URL"):
        return base
    from codi2_flows.server.server import running_server_url

    url = running_server_url(root)
    return None if url is None else f"{url}/api"


def scheduled(base: str) -> list[dict[str, Any]]:
    """The next run of each flow."""
    first: dict[str, dict[str, Any]] = {}
    for run in flow_runs(base, {"type": {"any_": ["SCHEDULED"]}}, "EXPECTED_START_TIME_ASC"):
        first.setdefault(run["flow_id"], run)
    return summaries(base, list(first.values()))


def gave_way(base: str) -> list[dict[str, Any]]:
    """Runs of the last 7 days that were skipped because another run of their deployment was active."""
    runs = flow_runs(base, {"type": {"any_": ["CANCELLED"]}}, "EXPECTED_START_TIME_DESC")
    return summaries(base, [run for run in runs if state_message(run).startswith(GAVE_WAY)])


def never_started(base: str) -> list[dict[str, Any]]:
    """Runs of the last 7 days that crashed before they started, so that the catalog has no row of them."""
    runs = flow_runs(base, {"type": {"any_": ["CRASHED"]}}, "EXPECTED_START_TIME_DESC")
    return summaries(base, [run for run in runs if run["start_time"] is None])


def flow_runs(base: str, state: dict[str, Any], order: str) -> list[dict[str, Any]]:
    criteria: dict[str, Any] = {"state": state}
    if order.endswith("DESC"):
        criteria["expected_start_time"] = {"after_": (datetime.now(UTC) - RECENT).isoformat()}
    return post(f"{base}/flow_runs/filter", {"flow_runs": criteria, "sort": order, "limit": LIMIT})


def summaries(base: str, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Flow, name, time and reason of each run."""
    ids = sorted({run["flow_id"] for run in runs})
    flows = post(f"{base}/flows/filter", {"flows": {"id": {"any_": ids}}}) if ids else []
    names = {flow["id"]: flow["name"] for flow in flows}
    return [
        {
            "flow": names.get(run["flow_id"], ""),
            "name": run["name"],
            "at": run["expected_start_time"],
            "why": state_message(run),
        }
        for run in runs
    ]


def state_message(run: dict[str, Any]) -> str:
    """The first line of Prefect's message about the state of a run."""
    lines = str((run["state"] or {}).get("message") or "").strip().splitlines()
    return lines[0] if lines else ""


def post(url: str, content: dict[str, Any]) -> list[dict[str, Any]]:
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        return list(json.loads(response.read()))
