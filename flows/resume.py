"""Flow: runs that were killed -> the same runs again, to the end. Everything they had finished is found and not repeated.

    codi2 resume --root R        or this flow on a schedule

Also tells a Prefect server what it cannot know: that flow runs which it calls running were killed.
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
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed

from codi2_flows.runtime import webhook
from codi2_flows.runtime.record_run import again
from codi2_storage.coordination.run_parameters import portable, present
from codi2_storage.coordination.runs import COMPLETED, CRASHED, Run, list_runs, mark_crashed
from codi2_storage.store import Store
from codi2_storage.uris import identity

LOOK_BACK = 200  # runs of a Prefect server
ATTEMPTS = 3  # of the same flow and parameters, one after the other
# flows that end, do nothing twice, and whose parameters the catalog holds as they were given
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
    """Run what crashed again. Returns a row for each crashed run: run_id, flow, attempt, outcome, reason.

    A run that fails again does not keep the others from being resumed.
    """
    store = Store(root)
    runs = list_runs(store)
    dead = {run.run_id: run for run in buried(store, [run for run in runs if run.status == CRASHED])}
    tell_prefect(dead.values())
    once_more = [run for run in latest_crashed(runs) if run.run_id in dead]
    once_more += unrecorded(store, {run.flow_run for run in runs})
    return [resumed(store, run, attempts) for run in once_more]


def buried(store: Store, crashed: Iterable[Run]) -> list[Run]:
    """Mark them in the catalog; those that others called dead and that live after all are left out."""
    found = []
    for run in crashed:
        if (marked := mark_crashed(store, run)) is not None:
            webhook.tell(run.kind, run.run_id, marked.status, marked.reason, store.uri())
            print(f"{run.run_id}: {marked.reason}; marked as crashed", file=sys.stderr, flush=True)
            found.append(marked)
        elif run.ended_at is not None:
            found.append(run)  # marked before
    return found


def latest_crashed(runs: Iterable[Run]) -> list[Run]:
    """Of every flow and parameters the last run, if it crashed and is no part of another; in the order they ran."""
    last: dict[tuple[str, str], Run] = {}
    for run in runs:  # the last first
        if run.parent is None:
            last.setdefault((run.kind, run.config), run)
    return sorted((run for run in last.values() if run.status == CRASHED), key=lambda run: run.created_at)


def resumed(store: Store, run: Run, attempts: int) -> dict[str, Any]:
    """Run it once more. Returns what came of it."""
    about = {"run_id": run.run_id, "flow": run.kind, "attempt": run.attempt + 1}
    if run.kind not in RESUMABLE:
        return {**about, "outcome": "left", "reason": f"{run.kind} is started by hand"}
    if run.attempt >= attempts:
        return {**about, "attempt": run.attempt, "outcome": "given up", "reason": f"{run.attempt} attempts crashed"}
    print(f"{run.run_id}: once more, attempt {run.attempt + 1}", file=sys.stderr, flush=True)
    try:
        with again(run):
            flow_of(run.kind)(**present(store, run.parameters))
    except Exception as error:
        return {**about, "outcome": "failed", "reason": f"{type(error).__name__}: {error}".splitlines()[0]}
    return {**about, "outcome": COMPLETED, "reason": None}


def flow_of(kind: str) -> Callable[..., Any]:
    module, _, name = RESUMABLE[kind].partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


def unrecorded(store: Store, known: set[str | None]) -> list[Run]:
    """Runs of the root that a configured server calls crashed and the catalog has not heard of: killed as they began.

    Of every flow the last alone counts, by the server's words: a later one has done the work, or will.
    """
    if not PREFECT_API_URL.value():
        return []
    begun = FlowRunFilter(state={"type": {"not_any_": [StateType.SCHEDULED]}})  # type: ignore[arg-type]  # made a filter
    wanted = FlowFilter(name={"any_": list(RESUMABLE)})  # type: ignore[arg-type]
    last: dict[UUID, FlowRun] = {}
    with get_client(sync_client=True) as client:
        names = {flow.id: flow.name for flow in client.read_flows(flow_filter=wanted)}
        newest = FlowRunSort.START_TIME_DESC
        for run in client.read_flow_runs(flow_filter=wanted, flow_run_filter=begun, sort=newest, limit=LOOK_BACK):
            if "root" in run.parameters and identity(Store(run.parameters["root"])) == identity(store):
                last.setdefault(run.flow_id, run)
    lost = [run for run in last.values() if run.state and run.state.is_crashed() and str(run.id) not in known]
    return [
        Run(
            run_id=f"flow run {run.name}", kind=names[run.flow_id],
            config=json.dumps(portable(store, run.parameters), sort_keys=True),
            status=CRASHED, created_at=run.created.isoformat() if run.created else "",
        )
        for run in lost
    ]  # fmt: skip


def tell_prefect(dead: Iterable[Run]) -> list[str]:
    """Mark flow runs as crashed that a configured server still calls running. Returns their ids."""
    told: list[str] = []
    named = [run for run in dead if run.flow_run]
    if not named or not PREFECT_API_URL.value():
        return told
    with get_client(sync_client=True) as client:
        for run in named:
            try:
                known = client.read_flow_run(UUID(run.flow_run))
            except ObjectNotFound:  # of another server, or forgotten
                continue
            if known.state is not None and known.state.is_running():
                client.set_flow_run_state(known.id, Crashed(message=run.reason), force=True)
                told.append(str(known.id))
    return told


if __name__ == "__main__":
    print(resume_crashed())
