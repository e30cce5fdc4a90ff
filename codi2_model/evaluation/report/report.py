"""Report of a model for a README or a release, from recorded evaluations only.

    <out>/figures.md            tables per task with baselines and intervals, demonstrations, published suites
    <out>/MODEL_CARD.md         model, training, data, licences, main figures, limits
    <out>/sheets/<task>.webp    prompt | output | truth of samples picked by the seed
    <out>/worst/<task>.webp     the worst failures by the judge

Equal catalogs give equal bytes.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from codi2_datasets.media.image import decode_image
from codi2_model.checkpoints.hashing import weights_digest
from codi2_model.checkpoints.registry import checkpoint_folder
from codi2_model.evaluation.baselines import CHANCE, COPY_INPUT, NEAREST_TRAIN
from codi2_model.evaluation.bench.recorded import Run, recorded_runs
from codi2_model.evaluation.data import EvaluationError
from codi2_model.evaluation.report.card import card_lines
from codi2_model.evaluation.report.figures import (
    cell,
    ladder_table,
    legend,
    main_rows,
    number,
    published_table,
    row_line,
    table_head,
    task_table,
)
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.locations.files import write_whole
from codi2_storage.store import Store

SHEETS = {"sheets": "contact_sheet.png", "worst": "worst.png"}


def write_report(checkpoint: str | Path, root: str | Store, out: str | Path, build: str | None = None) -> Path:
    """Write the report. Returns the path of the model card. Raises EvaluationError without recorded evaluations."""
    store = root if isinstance(root, Store) else Store(root)
    folder = checkpoint_folder(checkpoint)
    checkpoint_id = weights_digest(folder)[:16]
    catalog = Catalog(store)
    build_id = catalog.named(build) or ""
    runs = recorded_runs(catalog, checkpoint_id, build_id)
    if not runs:
        raise EvaluationError(
            f"the catalog has no figures of {checkpoint_id} on {build_id}; run `codi2 evaluate` first"
        )
    target = Path(out)
    for name, file in SHEETS.items():
        (target / name).mkdir(parents=True, exist_ok=True)
        for run in runs:
            sheet = decode_image(store.read_bytes(f"evaluations/{run.run_id}/{file}"))
            write_whole(target / name / f"{run.task}.webp", _webp(sheet))
    published = catalog.sql(
        "select * from metrics where checkpoint_id = ? and starts_with(suite, 'published:')", [checkpoint_id]
    ).to_pylist()
    figures = [f"# Figures of {checkpoint_id}", "", *_introduction(build_id, runs), *_tasks(runs)]
    if published:
        figures += ["## Published suites", "", *published_table(published), ""]
    _write(target / "figures.md", [*figures, "## Measures", "", *legend()])
    card = target / "MODEL_CARD.md"
    _write(card, card_lines(catalog, checkpoint_id, folder, build_id, headline(runs)))
    return card


def headline(runs: list[Run]) -> list[str]:
    """Table with the main measure of each task next to the baselines."""
    names = (CHANCE, COPY_INPUT, NEAREST_TRAIN)
    lines = table_head(["task", "measure", "n", "model (95 %)", *names])
    for run in runs:
        by = {row["baseline"]: row for row in main_rows(run.rows)}
        if own := by.get(None):
            cells = [run.task, own["metric"], str(own["n"]), cell(own), *(number(by.get(name)) for name in names)]
            lines.append(row_line(cells))
    return lines


def _introduction(build_id: str, runs: list[Run]) -> list[str]:
    seeds = sorted({run.config["seed"] for run in runs})
    return [
        f"Held-out samples of build {build_id}, seed {', '.join(map(str, seeds))}. Intervals: bootstrap, 95 %. Bold: a "
        "baseline for which the interval of the model's paired gain is above 0.",
        "",
    ]


def _tasks(runs: list[Run]) -> list[str]:
    lines: list[str] = []
    for run in runs:
        lines += [f"## {run.task}", "", f"![samples by seed](sheets/{run.task}.webp)", "", *task_table(run.rows), ""]
        for split in sorted({row["split"] for row in run.rows} - {"test"}):
            lines += [f"Only held-out {split.split('/')[-1]}s:", "", *task_table(run.rows, split), ""]
        if ladder := ladder_table(run.rows):
            lines += ["By number of demonstrations, with the same samples in every column:", "", *ladder, ""]
        lines += [f"The worst failures: [worst/{run.task}.webp](worst/{run.task}.webp)", ""]
    return lines


def _webp(sheet: Image.Image) -> bytes:
    """Encode a sheet as WebP, a tenth of the size of PNG: reports are kept under version control."""
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=82, method=4)
    return buffer.getvalue()


def _write(path: Path, lines: list[str]) -> None:
    write_whole(path, ("\n".join(lines).rstrip() + "\n").encode())
