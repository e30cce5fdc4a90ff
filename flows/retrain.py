"""The flow `retrain`: builds, trains, evaluates, and promotes the new model only if it is better than the champion."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import os
from dataclasses import asdict, dataclass
from typing import Any

from prefect import flow

from codi2_datasets.build import Settings
from codi2_datasets.runtime.ray_executor import local_cluster
from codi2_flows.build_dataset import build_version
from codi2_flows.evaluate_model import evaluation
from codi2_flows.runtime.artifacts import build_artifacts, gate_artifact, metrics_artifact
from codi2_flows.runtime.checks import check_retrain
from codi2_flows.runtime.events import model_promoted
from codi2_flows.runtime.record_run import record_run
from codi2_flows.train_model import checkpoint
from codi2_model.checkpoints.registry import PROMOTION, local_copy, promote, promoted, withdrawn
from codi2_model.evaluation.contamination import find_contamination
from codi2_model.evaluation.gate import Decision, Gate, decide, record
from codi2_model.training.pipeline_stage import CHAMPION, SCRATCH, TrainRequest, up_to_date_champion
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.coordination.leases import lease
from codi2_storage.store import Store


@dataclass(frozen=True)
class Candidate:
    """A trained checkpoint that was evaluated on a build."""

    checkpoint_id: str
    uri: str
    build_id: str


@flow(name="retrain", validate_parameters=False)
def retrain(
    recipe: str = "demo",
    config: str = "demo",
    root: str = "./data",
    workers: int = os.cpu_count() or 1,
    limit: int | None = None,
    train_workers: int = 1,
    start: str = SCRATCH,
    metric: list[str] | None = None,
    guard: list[str] | None = None,
    gate_samples: int | None = None,
) -> dict[str, Any]:
    """Run the whole pipeline. Returns build, checkpoint, metrics, decision, and the path of the page.

    `start`: `scratch`, `champion` (the promoted model's weights, or scratch if no model is promoted), or a checkpoint.
    `metric`: metrics that the candidate must improve; `guard`: metrics that must not get worse; each `name` or
    `task:name`. `gate_samples`: held-out samples of each task in the comparison.
    """
    gate = Gate.of(metric, guard, gate_samples)
    store = Store(root)
    check_retrain(root, recipe, config, start, gate)
    parameters = {
        "recipe": recipe, "config": config, "root": store.uri(), "workers": workers, "limit": limit,
        "train_workers": train_workers, "start": start, "metric": gate.metrics, "guard": gate.guards,
        "gate_samples": gate.limit,
    }  # fmt: skip
    with record_run("retrain", root, parameters) as run:
        with local_cluster(workers):
            version = build_version(Settings(recipe, store.uri(), workers, limit))
            run.update(build_id=version.build_id)
            build_artifacts(root, version.build_id)
            uri = train_candidate(store, TrainRequest(config, root, version.build_id, train_workers, start))
        run.update(uri=uri)
        measured = evaluate_on_build(store, uri, version.build_id, gate)
        metrics_artifact(measured["rows"], measured["checkpoint_id"], measured["page"])
        candidate = Candidate(measured["checkpoint_id"], uri, version.build_id)
        decision = decide_and_promote(store, gate, candidate)
        gate_artifact([asdict(line) for line in decision.lines], decision.promoted, decision.reason)
    return {
        "build": version.build_id,
        "samples": version.samples,
        "checkpoint": uri,
        "checkpoint id": candidate.checkpoint_id,
        "decision": ("promoted: " if decision.promoted else "not promoted: ") + decision.reason,
        "gate": decision,
        "page": measured["page"],
        "metrics": measured["rows"],
    }


def train_candidate(store: Store, request: TrainRequest) -> str:
    """Train the candidate. Returns its URI.

    With `start=champion`: if the champion was itself trained by this config on this build, it is not trained further.
    """
    if request.start == CHAMPION and (uri := up_to_date_champion(store, request)):
        return uri
    return checkpoint(request)


def evaluate_on_build(store: Store, uri: str, build_id: str, gate: Gate) -> dict[str, Any]:
    """Evaluate a checkpoint on the held-out samples of the gate, or read an equal evaluation from the catalog."""
    return evaluation(str(local_copy(uri)), store.uri(), build_id, gate.limit, gate.seed)


def decide_and_promote(store: Store, gate: Gate, candidate: Candidate) -> Decision:
    """Decide and record the decision; promote the candidate if there is no champion or it is better.

    If another process promotes a model in the meantime, the candidate is compared with that one.
    """
    while True:
        champion = promoted(store)
        decision = compare_with_champion(store, gate, candidate, champion)
        identity = champion["checkpoint_id"] if champion else None
        with lease(store, PROMOTION, about="retrain"):
            if promoted(store) != champion:
                continue
            if identity != candidate.checkpoint_id:
                record(store, decision, candidate.build_id, candidate.checkpoint_id, identity)
            if decision.promoted:
                promote(store, candidate.checkpoint_id, candidate.uri, decision.reason)
        break
    if decision.promoted:
        model_promoted(store.uri(), candidate.checkpoint_id, candidate.uri)
    return decision


def compare_with_champion(store: Store, gate: Gate, candidate: Candidate, champion: dict[str, Any] | None) -> Decision:
    """The decision about a candidate. It is neither recorded nor carried out here."""
    comparison = (store, gate, candidate.build_id, candidate.checkpoint_id)
    if champion is None:
        return decide(*comparison, None)
    identity = champion["checkpoint_id"]
    if identity == candidate.checkpoint_id:
        return Decision("", False, "this model is promoted already")
    evaluate_on_build(store, champion["uri"], candidate.build_id, gate)
    known = find_contamination(Catalog(store), candidate.build_id, [candidate.checkpoint_id, identity])
    decision = decide(*comparison, identity, known)
    if decision.promoted and (when := withdrawn(store, candidate.checkpoint_id)):
        return decision.rejected(f"it was rolled back on {when[:10]}; `codi2 rollback --to` promotes it again")
    return decision


if __name__ == "__main__":
    print(retrain())
