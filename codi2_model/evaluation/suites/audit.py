"""Audio editing (add, drop, replace) with the metrics of AUDIT (Wang et al. 2023, arXiv 2304.00830): LSD, FD, KL.

The test set of AUDIT is not published. The data are triplets in audit.jsonl with one object per line:
{"id", "task": "add" | "drop" | "replace", "instruction", "input", "target"}, with audio paths relative to the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codi2_datasets.readers.json_rows import json_rows
from codi2_model.evaluation.data import by_hash
from codi2_model.evaluation.suites import Figure, Request, Suite, SuiteError, needed, table, user
from codi2_model.evaluation.suites.networks import Networks
from codi2_model.evaluation.suites.sounds import distances, fill_missing, read_sound

TASKS = ("add", "drop", "replace")
FIELDS = ("id", "task", "instruction", "input", "target")


def requests(data: Path, limit: int | None, seed: int) -> list[Request]:
    """Requests for `limit` triplets of each task."""
    path = needed(data / "audit.jsonl", "the triplets, one JSON object per line")
    tasks: dict[str, dict[str, dict[str, str]]] = {task: {} for task in TASKS}
    for number, row in table(path, json_rows(str(path))):
        missing = [name for name in FIELDS if name not in row]
        if missing or row["task"] not in TASKS:
            raise SuiteError(
                f"{path} row {number}: expected the fields {', '.join(FIELDS)}, and a task among {', '.join(TASKS)}"
            )
        tasks[row["task"]][str(row["id"])] = row
    result = []
    for task, rows in tasks.items():
        for name in sorted(by_hash(rows, seed)[:limit]):
            row = rows[name]
            source = read_sound(needed(data / row["input"], f"the input of {name}"))
            target = read_sound(needed(data / row["target"], f"the target of {name}"))
            prompt = user(
                f"{row['instruction'].rstrip('.')}: ", {"type": "audio", "value": source, "icl_role": "query"}
            )
            truth = [{"type": "audio", "value": target}]
            result.append(Request(f"{task}/{name}", task, prompt, {"input": source}, f"{task}/{name}", truth))
    return result


def score(data: Path, items: Sequence[Request], answers: Sequence[Any | None], judges: Networks) -> list[Figure]:
    """Figures of the model, and of the unchanged input."""
    figures = []
    for task in TASKS:
        numbers = [n for n, request in enumerate(items) if request.task == task]
        if not numbers:
            continue
        task_items = [items[n] for n in numbers]
        truths = [request.truth[0]["value"] for request in task_items if request.truth]
        generated = fill_missing([answers[n] for n in numbers])
        figures += distances(task, task_items, generated, truths, judges)
        figures += distances(
            task, task_items, [r.about["input"] for r in task_items], truths, judges, baseline="copy_input"
        )
    return figures


SUITE = Suite("audit", "audio", "Wang et al. 2023, arXiv 2304.00830", requests, score, ("audio_classifier",))
