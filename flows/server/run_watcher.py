"""What a server of ours asks of Prefect: a pool, its automations, who runs and who ended. Import it once the address is set."""

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
LATEST = 50  # runs that a look at what goes on takes in
QUIET_STATES = {"Scheduled", "Pending", "Late", "AwaitingConcurrencySlot"}


async def prepare(webhook: str | None, pool: str) -> int:
    """Pool and automations, as they have to be before a worker starts. Returns how many runs an earlier server left."""
    async with get_client() as client:
        left = await automations.crash_what_was_left(client)
        with suppress(ObjectAlreadyExists):
            await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        await automations.create_automations(client, webhook)
        return left


async def schedule_lines() -> list[str]:
    """Every schedule, and when it fires next."""
    async with get_client() as client:
        scheduled = FlowRunFilter(state={"type": {"any_": ["SCHEDULED"]}})  # type: ignore[arg-type]  # made a filter
        soonest = FlowRunSort.EXPECTED_START_TIME_ASC
        names = {deployment.id: deployment for deployment in await client.read_deployments()}
        flows = {flow.id: flow.name for flow in await client.read_flows()}
        lines: dict[str, str] = {}
        for run in await client.read_flow_runs(flow_run_filter=scheduled, sort=soonest, limit=200):
            deployment = names.get(run.deployment_id) if run.deployment_id else None
            if deployment is not None and run.next_scheduled_start_time is not None:
                name = f"{flows.get(deployment.flow_id, '?')}/{deployment.name}"
                lines.setdefault(name, f"next {name}: {run.next_scheduled_start_time.astimezone():%Y-%m-%d %H:%M:%S}")
        return list(lines.values())


async def begin(root: str, build: bool) -> list[str]:
    """Start what runs from the beginning: the model's server where a model is in place, and a build if wanted."""
    names = [SERVING] if promoted(Store(root)) else []
    names += [BUILDING] if build else []
    async with get_client() as client:
        for name in names:
            deployment = await client.read_deployment_by_name(name)
            await client.create_flow_run_from_deployment(deployment.id)
    return names


async def mark_stuck_runs() -> int:
    """Returns how many runs were stuck; none while the server does not answer."""
    try:
        async with get_client() as client:
            return len(await automations.crash_what_never_started(client, datetime.now(UTC)))
    except (httpx.HTTPError, OSError):
        return 0


class RunWatcher:
    """Tells what became of runs since it was last asked."""

    def __init__(self) -> None:
        self.seen: dict[object, str] = {}
        self.flows: dict[object, str] = {}
        self.first = True

    def news(self) -> list[str]:
        """A line for every run whose state has changed; nothing while the server does not answer."""
        try:
            with get_client(sync_client=True) as client:
                runs = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=LATEST)
                for identity in {run.flow_id for run in runs} - set(self.flows):
                    self.flows[identity] = client.read_flow(identity).name
        except (httpx.HTTPError, OSError):
            return []
        lines = [self.line(run) for run in reversed(runs) if self.changed(run)]
        quiet, self.first = self.first, False  # what ended before this server began is no news
        return [] if quiet else lines

    def changed(self, run: FlowRun) -> bool:
        state = run.state_name or ""
        before = self.seen.get(run.id)
        self.seen[run.id] = state
        return state != before and state not in QUIET_STATES

    def line(self, run: FlowRun) -> str:
        state = run.state
        message = (state.message or "").strip().splitlines() if state else []
        why = f": {message[0]}" if message and run.state_name not in ("Completed", "Running") else ""
        return f"{self.flows[run.flow_id]} {(run.state_name or '?').lower()}{why}  {PREFECT_UI_URL.value()}/runs/flow-run/{run.id}"
