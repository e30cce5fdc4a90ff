"""The flow `resume-crashed`: finds killed runs and runs them again with the same parameters.

    codi2 resume --root R        or this flow on a schedule

A resumed run continues where the killed one stopped, because tasks reuse finished work from the catalog. The flow also
marks killed flow runs as crashed on the Prefect server, which still lists them as running.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import json
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from codi2_flows.runtime import webhook
from codi2_flows.runtime.record_run import retry_of
from codi2_flows.runtime.temporary_server import server_configured
from codi2_storage.coordination.run_parameters import portable, present
from codi2_storage.coordination.runs import COMPLETED, CRASHED, Run, last_of_each, list_runs, mark_crashed
from codi2_storage.store import Store
from codi2_storage.uris import identity

LOOK_BACK = 200  # newest flow runs of a Prefect server that are searched
ATTEMPTS = 3  # consecutive attempts of the same flow and parameters
# flow name -> module:function. Flows that end, are idempotent, and whose parameters the catalog holds unchanged.
RESUMABLE = {
    "build-dataset": "codi2_flows.build_dataset:build_dataset",
    "train-model": "codi2_flows.train_model:train_model",
    "evaluate-model": "codi2_flows.evaluate_model:evaluate_model",
    "generate-batch": "codi2_flows.generate_batch:generate_batch",
    "retrain": "codi2_flows.retrain:retrain",
    "speedrun": "codi2_flows.speedrun:speedrun",
}


@flow(name="resume-crashed", validate_parameters=False)
def resume_crashed(root: str = "./data", attempts: int = ATTEMPTS) -> list[dict[str, Any]]:
    """Run crashed runs again. Returns a row for each: run_id, flow, attempt, outcome, reason.

    If one fails again, the others are still resumed.
    """
    store = Store(root)
    runs = list_runs(store)
    dead = {run.run_id: run for run in confirm_crashes(store, [run for run in runs if run.status == CRASHED])}
    mark_crashed_in_prefect(dead.values())
    to_resume = [run for run in latest_crashed_runs(runs) if run.run_id in dead]
    to_resume += unrecorded_crashes(store, {run.flow_run for run in runs})
    return [resume_run(store, run, attempts) for run in to_resume]


def confirm_crashes(store: Store, crashed: Iterable[Run]) -> list[Run]:
    """Mark the runs as crashed in the catalog. Returns those that are dead; runs that are alive after all are left out."""
    dead = []
    for run in crashed:
        if (marked := mark_crashed(store, run)) is not None:
            webhook.notify(run.kind, run.run_id, marked.status, marked.reason, store.uri())
            print(f"{run.run_id}: {marked.reason}; marked as crashed", file=sys.stderr, flush=True)
            dead.append(marked)
        elif run.ended_at is not None:
            dead.append(run)  # marked before
    return dead


def latest_crashed_runs(runs: Iterable[Run]) -> list[Run]:
    """The last run of each flow and parameters, if it crashed and is not part of another run; oldest first."""
    last = last_of_each(run for run in runs if run.parent is None)
    return sorted((run for run in last if run.status == CRASHED), key=lambda run: run.created_at)


def resume_run(store: Store, run: Run, attempts: int) -> dict[str, Any]:
    """Run it again. Returns the row with its outcome: completed, failed, left (not resumable) or given up."""
    row = {"run_id": run.run_id, "flow": run.kind, "attempt": run.attempt + 1}
    if run.kind not in RESUMABLE:
        return {**row, "outcome": "left", "reason": f"{run.kind} is not resumed automatically: start it yourself"}
    if run.attempt >= attempts:
        return {**row, "attempt": run.attempt, "outcome": "given up", "reason": f"{run.attempt} attempts crashed"}
    print(f"{run.run_id}: resuming, attempt {run.attempt + 1}", file=sys.stderr, flush=True)
    try:
        with retry_of(run):
            load_flow(run.kind)(**present(store, run.parameters))
    except Exception as error:
        return {**row, "outcome": "failed", "reason": f"{type(error).__name__}: {error}".splitlines()[0]}
    return {**row, "outcome": COMPLETED, "reason": None}


def load_flow(kind: str) -> Callable[..., Any]:
    module, _, name = RESUMABLE[kind].partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def unrecorded_crashes(store: Store, known: set[str | None]) -> list[Run]:
    """Runs of the root that the Prefect server lists as crashed and the catalog does not have: killed as they started.

    Only the last run of each flow counts, because a later run does the same work. `known`: flow run ids of the catalog.
    """
    if not server_configured():
        return []
    started = FlowRunFilter(state={"type": {"not_any_": [StateType.SCHEDULED]}})  # type: ignore[arg-type]  # made a filter
    resumable = FlowFilter(name={"any_": list(RESUMABLE)})  # type: ignore[arg-type]
    last: dict[UUID, FlowRun] = {}
    with get_client(sync_client=True) as client:
        names = {flow.id: flow.name for flow in client.read_flows(flow_filter=resumable)}
        newest = FlowRunSort.START_TIME_DESC
        for run in client.read_flow_runs(flow_filter=resumable, flow_run_filter=started, sort=newest, limit=LOOK_BACK):
            if "root" in run.parameters and identity(Store(run.parameters["root"])) == identity(store):
                last.setdefault(run.flow_id, run)
    crashed = [run for run in last.values() if run.state and run.state.is_crashed() and str(run.id) not in known]
    return [
        Run(
            run_id=f"flow run {run.name}", kind=names[run.flow_id],
            config=json.dumps(portable(store, run.parameters), sort_keys=True),
            status=CRASHED, created_at=run.created.isoformat() if run.created else "",
        )
        for run in crashed
    ]  # fmt: skip


def mark_crashed_in_prefect(dead: Iterable[Run]) -> list[str]:
    """Mark dead flow runs as crashed that the Prefect server still lists as running. Returns their ids."""
    marked: list[str] = []
    with_flow_run = [run for run in dead if run.flow_run]
    if not with_flow_run or not server_configured():
        return marked
    with get_client(sync_client=True) as client:
        for run in with_flow_run:
            try:
                flow_run = client.read_flow_run(UUID(run.flow_run))
            except ObjectNotFound:  # of another server, or deleted
                continue
            if flow_run.state is not None and flow_run.state.is_running():
                client.set_flow_run_state(flow_run.id, Crashed(message=run.reason), force=True)
                marked.append(str(flow_run.id))
    return marked


if __name__ == "__main__":
    print(resume_crashed())
