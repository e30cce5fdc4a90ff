"""Flow: the whole pipeline. Build, train, evaluate; the new model is promoted only if it is better."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import os
from dataclasses import asdict, dataclass
from typing import Any

from prefect import flow

from codi2_datasets.runtime.ray_executor import local_cluster
from codi2_flows.build_dataset import built
from codi2_flows.evaluate_model import metrics
from codi2_flows.runtime.artifacts import figures, gate_table, of_build
from codi2_flows.runtime.checks import ready
from codi2_flows.runtime.events import model_promoted
from codi2_flows.runtime.record_run import recorded
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
    """A trained checkpoint, and what its evaluation on a build said."""

    checkpoint_id: str
    uri: str
    build_id: str
    evaluation: dict[str, Any]


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
    """Returns what came of it: build, checkpoint, metrics, decision and where to look.

    `start`: scratch, champion (the promoted model's weights; from scratch where none is) or a checkpoint. `metric`: what has to
    be better, `guard`: what must not fall, each a metric or task:metric; `gate_samples`: held-out samples a task.
    """
    gate = Gate.of(metric, guard, gate_samples)
    store = Store(root)
    ready(root, recipe, config, start, gate)
    parameters = {
        "recipe": recipe, "config": config, "root": store.uri(), "workers": workers, "limit": limit,
        "train_workers": train_workers, "start": start, "metric": gate.metrics, "guard": gate.guards,
        "gate_samples": gate.limit,
    }  # fmt: skip
    with recorded("retrain", root, parameters) as run:
        with local_cluster(workers):
            version = built(recipe, root, workers, limit)
            run.note(build_id=version.build_id)
            of_build(root, version.build_id)
            uri = trained(store, TrainRequest(config, root, version.build_id, train_workers, start))
        run.note(uri=uri)
        found = evaluated(store, uri, version.build_id, gate)
        figures(found["rows"], found["checkpoint_id"], found["page"])
        candidate = Candidate(found["checkpoint_id"], uri, version.build_id, found)
        decision = settle(store, gate, candidate)
        gate_table([asdict(line) for line in decision.lines], decision.promoted, decision.reason)
    return {
        "build": version.build_id,
        "samples": version.samples,
        "checkpoint": uri,
        "checkpoint id": candidate.checkpoint_id,
        "decision": ("promoted: " if decision.promoted else "not promoted: ") + decision.reason,
        "gate": decision,
        "page": found["page"],
        "contact sheet": found["contact_sheet"],
        "metrics": found["rows"],
    }


def trained(store: Store, request: TrainRequest) -> str:
    """The candidate's URI. A champion that was itself continued by this config on this build is not continued once more."""
    if request.start == CHAMPION and (uri := up_to_date_champion(store, request)):
        return uri
    return checkpoint(request)


def evaluated(store: Store, uri: str, build_id: str, gate: Gate) -> dict[str, Any]:
    """The short suite on the gate's held-out samples; what was evaluated before is read back."""
    return metrics(str(local_copy(uri)), store.uri(), build_id, gate.limit, gate.seed)


def settle(store: Store, gate: Gate, candidate: Candidate) -> Decision:
    """Decide, record the decision, and promote the candidate if nothing is in place or it is better than what is.

    Whoever changes what is in place meanwhile has us compare anew.
    """
    while True:
        champion = promoted(store)
        decision = judged(store, gate, candidate, champion)
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


def judged(store: Store, gate: Gate, candidate: Candidate, champion: dict[str, Any] | None) -> Decision:
    """The decision about a candidate, with nothing changed yet."""
    about = (store, gate, candidate.build_id, candidate.checkpoint_id)
    mine = candidate.evaluation["run_id"]
    if champion is None:
        return decide(*about, None, (mine, None))
    identity = champion["checkpoint_id"]
    if identity == candidate.checkpoint_id:
        return Decision("", False, "this model is in place already")
    theirs = evaluated(store, champion["uri"], candidate.build_id, gate)["run_id"]
    known = find_contamination(Catalog(store), candidate.build_id, [candidate.checkpoint_id, identity])
    decision = decide(*about, identity, (mine, theirs), known)
    if decision.promoted and (when := withdrawn(store, candidate.checkpoint_id)):
        return decision.rejected(
            f"it was rolled back from on {when[:10]}; `codi2 rollback --to` puts it in place again"
        )
    return decision


if __name__ == "__main__":
    print(retrain())
