"""The flow `speedrun`: makes the shipped model from scratch.

Steps: dataset, three stages of training, weights in bfloat16, evaluation, figures, model card. A rerun continues where
the last one stopped, because each step reuses finished work.
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


@task(name="shipped checkpoint")
def shipped_checkpoint(checkpoint: str, root: str, build: str) -> str:
    """Write the checkpoint in bfloat16 beside the original, in files that fit in a package, and record it in the catalog.

    It includes the file ATTRIBUTION of the build. Returns its local folder.
    """
    from codi2_model.checkpoints.export import ship

    store, source = Store(root), local_copy(checkpoint)
    attribution = store.read_bytes(f"builds/{build}/ATTRIBUTION").decode()
    folder = ship(source, source.with_name(f"{source.name}-shipped"), attribution=attribution)
    uri = str(folder)
    if not store.is_local:
        name = f"{relative(store, checkpoint)}-shipped"
        store.put_folder(folder, name)
        uri = store.uri(name)
    record_variant(store, str(source), folder, uri)
    return str(folder)


@task(name="report")
def report(checkpoint: str, root: str, build: str) -> str:
    """Write figures, model card and contact sheets beside the checkpoint. Returns the path of the card."""
    from codi2_model.evaluation.report.report import write_report

    return str(write_report(checkpoint, root, Path(checkpoint).with_name("report"), build))


@flow(name="speedrun", validate_parameters=False)
def speedrun(
    recipe: str = "open",
    config: str = "small",
    root: str = "./data",
    workers: int = os.cpu_count() or 1,
    limit: int = 100,
    out: str | None = None,
) -> dict[str, Any]:
    """Make the model. Returns the build id and the paths of checkpoint and card.

    `limit`: test samples of each task in the evaluation. `out`: also copy weights and card to this folder.
    """
    build = build_dataset(recipe, root, workers)
    checkpoint = shipped_checkpoint(train_model(config, root, build), root, build)
    evaluate_model(checkpoint, root, build, limit, suite="open")
    card = report(checkpoint, root, build)
    if out is not None:
        target = Path(out)
        shutil.copytree(checkpoint, target, dirs_exist_ok=True)
        shutil.copy(card, target / "README.md")
    return {"build": build, "checkpoint": out or checkpoint, "card": card}


if __name__ == "__main__":
    print(speedrun())
