"""Set-up and monitoring of flow runs through Prefect's client. Import it after the API URL is set."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
from contextlib import suppress
from datetime import UTC, datetime

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_UI_URL

from codi2_flows.server import automations
from codi2_model.checkpoints.registry import promoted
from codi2_storage.store import Store

SERVING, BUILDING = "serve-model/rollout", "build-dataset/nightly"
LATEST = 50  # newest runs that RunWatcher reads
QUIET_STATES = {"Scheduled", "Pending", "Late", "AwaitingConcurrencySlot"}


async def prepare(webhook: str | None, pool: str) -> int:
    """Create work pool and automations before a worker starts. Returns the number of runs that an earlier server left."""
    async with get_client() as client:
        left = await automations.mark_leftover_runs(client)
        with suppress(ObjectAlreadyExists):
            await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        await automations.create_automations(client, webhook)
        return left


async def schedule_lines() -> list[str]:
    """One line for each schedule with the time of its next run."""
    async with get_client() as client:
        scheduled = FlowRunFilter(state={"type": {"any_": ["SCHEDULED"]}})  # type: ignore[arg-type]  # made a filter
        soonest = FlowRunSort.EXPECTED_START_TIME_ASC
        deployments = {deployment.id: deployment for deployment in await client.read_deployments()}
        flows = {flow.id: flow.name for flow in await client.read_flows()}
        lines: dict[str, str] = {}
        for run in await client.read_flow_runs(flow_run_filter=scheduled, sort=soonest, limit=200):
            deployment = deployments.get(run.deployment_id) if run.deployment_id else None
            if deployment is not None and run.next_scheduled_start_time is not None:
                name = f"{flows.get(deployment.flow_id, '?')}/{deployment.name}"
                lines.setdefault(name, f"next {name}: {run.next_scheduled_start_time.astimezone():%Y-%m-%d %H:%M:%S}")
        return list(lines.values())


async def start_initial_runs(root: str, build: bool) -> list[str]:
    """Start the model server if a model is promoted, and a build if `build` is true. Returns the deployments' names."""
    names = [SERVING] if promoted(Store(root)) else []
    names += [BUILDING] if build else []
    async with get_client() as client:
        for name in names:
            deployment = await client.read_deployment_by_name(name)
            await client.create_flow_run_from_deployment(deployment.id)
    return names


async def mark_stuck_runs() -> int:
    """Mark stuck runs as crashed. Returns their number, or 0 if the server is unreachable."""
    try:
        async with get_client() as client:
            return len(await automations.mark_stuck_runs(client, datetime.now(UTC)))
    except (httpx.HTTPError, OSError):
        return 0


class RunWatcher:
    """Reports the runs whose state changed since the last call."""

    def __init__(self) -> None:
        self.seen: dict[object, str] = {}
        self.flows: dict[object, str] = {}
        self.first = True

    def changes(self) -> list[str]:
        """One line for each run whose state changed. Empty if the server is unreachable."""
        try:
            with get_client(sync_client=True) as client:
                runs = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=LATEST)
                for identity in {run.flow_id for run in runs} - set(self.flows):
                    self.flows[identity] = client.read_flow(identity).name
        except (httpx.HTTPError, OSError):
            return []
        lines = [self.line(run) for run in reversed(runs) if self.changed(run)]
        first, self.first = self.first, False  # runs of an earlier server are not reported
        return [] if first else lines

    def changed(self, run: FlowRun) -> bool:
        state = run.state_name or ""
        before = self.seen.get(run.id)
        self.seen[run.id] = state
        return state != before and state not in QUIET_STATES

    def line(self, run: FlowRun) -> str:
        state = run.state
        message = (state.message or "").strip().splitlines() if state else []
        reason = f": {message[0]}" if message and run.state_name not in ("Completed", "Running") else ""
        return f"{self.flows[run.flow_id]} {(run.state_name or '?').lower()}{reason}  {PREFECT_UI_URL.value()}/runs/flow-run/{run.id}"
