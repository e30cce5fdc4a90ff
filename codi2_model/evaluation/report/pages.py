"""Files of an evaluation: page, sheet of samples picked by seed and sheet of the worst failures of a task; overview."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codi2_model.evaluation.bench.measures import bare
from codi2_model.evaluation.bench.recorded import Run
from codi2_model.evaluation.bench.scoring import MODEL, Tally
from codi2_model.evaluation.data import LoadedSample
from codi2_model.evaluation.report.figures import beside_baselines, main_rows
from codi2_model.evaluation.report.outputs import GenerationItem, render_page, sheet_of, write_generations
from codi2_storage.locations.files import write_whole
from codi2_storage.store import Store

SHOWN, WORST = 12, 12  # numbers of samples on the sheets
NOTE_METRICS = ("concept@1", "style@1", "edit@1", "similarity", "lsd", "motion_agreement", "token_f1", "soft_match")


def write_task(
    folder: Path,
    task: str,
    checkpoint_id: str,
    samples: Sequence[LoadedSample],
    replies: Mapping[str, list[dict[str, Any]]],
    reasons: Mapping[str, str],
    tally: Tally,
    rows: Sequence[Mapping[str, Any]],
    seed: int,
) -> None:
    """Write index.html, media/, contact_sheet.png (first samples by hash of the seed), worst.png and scores.json."""
    own = own_scores(tally)
    items = {
        sample.row.sample_id: GenerationItem(
            sample.row.sample_id,
            task,
            sample.prompt,
            replies.get(sample.row.sample_id, []),
            sample.reply,
            reasons.get(sample.row.sample_id) or note(own.get(sample.row.sample_id, {})),
        )
        for sample in samples
    }
    ids = list(items)
    worst = sorted(ids, key=lambda i: (likeness(own.get(i, {})), i))[:WORST]
    sampled = ids[:SHOWN]
    columns, cells = beside_baselines([row for row in rows if row["split"] == "test"])
    table = {"title": "Held-out scores (95 % intervals)", "columns": columns, "rows": cells}
    on_page = [items[i] for i in dict.fromkeys([*sampled, *worst])]
    write_generations(folder, on_page, f"{task}: {checkpoint_id}", [table], sheet_rows=0)
    for name, chosen in (("contact_sheet.png", sampled), ("worst.png", worst)):
        write_whole(folder / name, sheet_of([items[i] for i in chosen]))
    data = {"seed": seed, "shown": sampled, "worst": worst, "scores": {i: own.get(i, {}) for i in ids}}
    write_whole(folder / "scores.json", json.dumps(data, indent=1, sort_keys=True).encode())


def put_overview(store: Store, checkpoint_id: str, runs: Sequence[Run]) -> str:
    """Write a page with the main measure and the sheet of every task, beside the page of the first. Returns its URI."""
    columns, cells = beside_baselines(main_rows([row for run in runs for row in run.rows]))
    title = f"Evaluation of {checkpoint_id}"
    page = render_page("overview.html", title=title, columns=columns, rows=cells, runs=runs)
    name = f"evaluations/{runs[0].run_id}/overview.html"
    store.write_bytes(name, page.encode())
    return store.uri(name)


def own_scores(tally: Tally) -> dict[str, dict[str, float]]:
    """sample id -> measure -> score of the model."""
    by_sample: dict[str, dict[str, float]] = {}
    for (metric, condition), scores in tally.single.items():
        if condition == MODEL:
            for key, score in scores.items():
                by_sample.setdefault(key.split(":")[0], {})[metric] = round(score, 6)
    return by_sample


def likeness(scores: Mapping[str, float]) -> float:
    """Similarity to the truth, averaged over modalities; failures are ordered by it, lowest first."""
    values = [score for metric, score in scores.items() if bare(metric) in ("similarity", "soft_match")]
    return sum(values) / len(values) if values else 0.0


def note(scores: Mapping[str, float]) -> str:
    """The main scores of a sample in words."""
    return ", ".join(f"{metric} {scores[metric]:.2f}" for metric in scores if bare(metric) in NOTE_METRICS)
