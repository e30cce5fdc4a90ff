"""Flow: from nothing to the model that ships. Dataset, three stages of training, weights made small, every figure, the card.

Each step finds what an earlier call finished, so the flow goes on wherever it was stopped.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import os
import shutil
from pathlib import Path
from typing import Any

from prefect import flow, task

from codi2_flows.build_dataset import build_dataset
from codi2_flows.evaluate_model import evaluate_model
from codi2_flows.train_model import train_model
from codi2_model.checkpoints.registry import local_copy, record_variant
from codi2_storage.store import Store
from codi2_storage.uris import relative


@task(name="ship")
def shipped(checkpoint: str, root: str, build: str) -> str:
    """The checkpoint in bfloat16, in files small enough for a package, with the build's ATTRIBUTION, beside it and in the
    catalog. Returns its folder on this machine."""
    from codi2_model.checkpoints.export import ship

    store, source = Store(root), local_copy(checkpoint)
    works = store.read_bytes(f"builds/{build}/ATTRIBUTION").decode()
    folder = ship(source, source.with_name(f"{source.name}-shipped"), attribution=works)
    uri = str(folder)
    if not store.is_local:
        name = f"{relative(store, checkpoint)}-shipped"
        store.put_folder(folder, name)
        uri = store.uri(name)
    record_variant(store, str(source), folder, uri)
    return str(folder)


@task(name="report")
def report(checkpoint: str, root: str, build: str) -> str:
    """Figures, card and sheets beside the checkpoint. Returns the card's path."""
    from codi2_model.evaluation.report.report import write_report

    return str(write_report(checkpoint, root, Path(checkpoint).with_name("report"), build))


@flow(name="speedrun", validate_parameters=False)
def speedrun(
    recipe: str = "full",
    config: str = "cpu",
    root: str = "./data",
    workers: int = os.cpu_count() or 1,
    limit: int = 100,
    out: str | None = None,
) -> dict[str, Any]:
    """Returns build, checkpoint and card. `limit`: test samples a task; `out`: also copy the weights and the card there."""
    build = build_dataset(recipe, root, workers)
    small = shipped(train_model(config, root, build), root, build)
    evaluate_model(small, root, build, limit, suite="open")
    card = report(small, root, build)
    if out is not None:
        target = Path(out)
        shutil.copytree(small, target, dirs_exist_ok=True)
        shutil.copy(card, target / "README.md")
    return {"build": build, "checkpoint": out or small, "card": card}


if __name__ == "__main__":
    print(speedrun())
