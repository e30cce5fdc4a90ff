"""Last log lines of a flow's run, and the progress of its current step."""

from __future__ import annotations

import json
from typing import Any

from codi2_storage.store import Store

TAIL = 64 * 1024  # bytes read from the end of the log
LINES = 40  # lines of the log that are shown


def lines_of(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The last lines, earliest first: time, level, step, message, fields. Empty if the run has no log."""
    path = f"logs/{run_id}.jsonl"
    if not store.exists(path):
        return []
    entries = []
    for text in bytes(store.fs.cat_file(store.path(path), start=-TAIL)).splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # truncated at the start, or being written at the end
            continue
        entries.append({name: line.get(name) for name in ("time", "level", "step", "message", "fields")})
    return entries[-LINES:]


def progress_of(lines: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The progress in the latest line that has one: step, done, total, unit, seconds_left. None if there is none."""
    for line in reversed(lines):
        fields = line["fields"] or {}
        if fields.get("total"):
            known = {name: fields.get(name) for name in ("done", "total", "unit", "seconds_left")}
            return {"step": line["step"], **known}
    return None
