"""Flow: the whole pipeline. Build, train, evaluate; the new model is promoted only if it is better."""

from __future__ import annotations

import codi2_flows.settings  # noqa: F401  isort: skip  (before Prefect)
import os
from typing import Any

from prefect import flow

from codi2_datasets.engine import local_cluster
from codi2_flows.build_dataset import built
from codi2_flows.evaluate_model import metrics
from codi2_flows.train_model import checkpoint
from codi2_model.checkpoints import local_copy, promote, promoted
from codi2_model.training.stage import TrainRequest
from codi2_storage.store import Store

GATE = "feature_top1"  # the metric that decides; its mean over tasks, on the same held-out samples


@flow(name="retrain", validate_parameters=False)
def retrain(
    recipe: str = "demo",
    config: str = "demo",
    root: str = "./data",
    workers: int = os.cpu_count() or 1,
    limit: int | None = None,
    train_workers: int = 1,
) -> dict[str, Any]:
    """Returns what came of it: build, checkpoint, metrics, decision and where to look."""
    with local_cluster(workers):
        version = built(recipe, root, workers, limit)
        uri = checkpoint(TrainRequest(config, root, version.build_id, train_workers))
    found = metrics(str(local_copy(uri)), root, version.build_id, 24, 0)
    decision = gate(Store(root), found["checkpoint_id"], uri, found["rows"], version.build_id)
    return {
        "build": version.build_id,
        "samples": version.samples,
        "checkpoint": uri,
        "checkpoint id": found["checkpoint_id"],
        "decision": decision,
        "page": found["page"],
        "contact sheet": found["contact_sheet"],
        "metrics": found["rows"],
    }


def gate(store: Store, checkpoint_id: str, uri: str, rows: list[dict[str, Any]], build_id: str) -> str:
    """Promote the candidate if nothing is in place, or if it is better than what is. Returns the decision in words."""
    champion = promoted(store)
    if champion and champion["checkpoint_id"] == checkpoint_id:
        return "kept: this model is in place already"
    score = gate_score(rows)
    if champion is None:
        promote(store, checkpoint_id, uri, f"first model, {GATE} {score:.3f}")
        return f"promoted: the first model, {GATE} {score:.3f}"
    other = gate_score(metrics(str(local_copy(champion["uri"])), store.uri(), build_id, 24, 0)["rows"])
    if score > other:
        promote(store, checkpoint_id, uri, f"{GATE} {score:.3f} against {other:.3f}")
        return f"promoted: {GATE} {score:.3f}, better than {other:.3f} of {champion['checkpoint_id']}"
    return f"not promoted: {GATE} {score:.3f}, no better than {other:.3f} of {champion['checkpoint_id']}"


def gate_score(rows: list[dict[str, Any]]) -> float:
    values = [row["value"] for row in rows if row["metric"] == GATE and row["baseline"] is None]
    if not values:
        raise ValueError(f"the evaluation holds no {GATE}: nothing to decide on")
    return sum(values) / len(values)


if __name__ == "__main__":
    print(retrain())
