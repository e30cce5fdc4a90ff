"""What a run of a flow said last: the end of its stream of lines, and how far its present step is."""

from __future__ import annotations

import json
from typing import Any

from codi2_storage.store import Store

TAIL = 64 * 1024  # bytes read from the end of a stream
LINES = 40  # of them that are shown


def lines_of(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The last lines, the earliest first: time, level, step, message, fields. Empty where the run has no stream."""
    path = f"logs/{run_id}.jsonl"
    if not store.exists(path):
        return []
    found = []
    for text in bytes(store.fs.cat_file(store.path(path), start=-TAIL)).splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # cut off at the beginning, or being written at the end
            continue
        found.append({name: line.get(name) for name in ("time", "level", "step", "message", "fields")})
    return found[-LINES:]


def progress_of(lines: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The step that the last line tells the progress of: step, done, total, unit, seconds_left; None where none does."""
    for line in reversed(lines):
        fields = line["fields"] or {}
        if fields.get("total"):
            known = {name: fields.get(name) for name in ("done", "total", "unit", "seconds_left")}
            return {"step": line["step"], **known}
    return None
