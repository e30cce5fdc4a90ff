"""Sounds added, dropped and replaced, measured as AUDIT does (Wang et al. 2023, arXiv 2304.00830): LSD, FD, KL.

AUDIT's own test set was not published, so the data are triplets in a plain form: audit.jsonl with one object a line,
{"id", "task": "add" | "drop" | "replace", "instruction", "input", "target"}, sounds named relative to the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codi2_datasets.readers.json_rows import json_rows
from codi2_model.evaluation.data import by_hash
from codi2_model.evaluation.suites import Figure, Request, Suite, SuiteError, needed, table, user
from codi2_model.evaluation.suites.networks import Networks
from codi2_model.evaluation.suites.sounds import distances, filled, sound

TASKS = ("add", "drop", "replace")
FIELDS = ("id", "task", "instruction", "input", "target")


def requests(data: Path, limit: int | None, seed: int) -> list[Request]:
    """`limit` counts triplets of each task."""
    path = needed(data / "audit.jsonl", "the triplets, one JSON object a line")
    tasks: dict[str, dict[str, dict[str, str]]] = {task: {} for task in TASKS}
    for number, row in table(path, json_rows(str(path))):
        missing = [name for name in FIELDS if name not in row]
        if missing or row["task"] not in TASKS:
            raise SuiteError(f"{path} row {number}: wants {', '.join(FIELDS)} with a task of {', '.join(TASKS)}")
        tasks[row["task"]][str(row["id"])] = row
    found = []
    for task, rows in tasks.items():
        for name in sorted(by_hash(rows, seed)[:limit]):
            row = rows[name]
            given = sound(needed(data / row["input"], f"the input of {name}"))
            target = sound(needed(data / row["target"], f"the target of {name}"))
            asked = user(f"{row['instruction'].rstrip('.')}: ", {"type": "audio", "value": given, "icl_role": "query"})
            truth = [{"type": "audio", "value": target}]
            found.append(Request(f"{task}/{name}", task, asked, {"input": given}, f"{task}/{name}", truth))
    return found


def score(data: Path, asked: Sequence[Request], answers: Sequence[Any | None], judges: Networks) -> list[Figure]:
    """The model's, and the input handed back."""
    figures = []
    for task in TASKS:
        places = [n for n, request in enumerate(asked) if request.task == task]
        if not places:
            continue
        mine = [asked[n] for n in places]
        truths = [request.truth[0]["value"] for request in mine if request.truth]
        made = filled([answers[n] for n in places])
        figures += distances(task, mine, made, truths, judges)
        figures += distances(task, mine, [r.about["input"] for r in mine], truths, judges, baseline="copy_input")
    return figures


SUITE = Suite("audit", "audio", "Wang et al. 2023, arXiv 2304.00830", requests, score, ("audio_classifier",))
