"""What a Prefect server of ours does by itself: find runs whose process is gone or never began, tell of runs that ended badly."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)

from datetime import datetime, timedelta
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.states import Crashed

LOST, TELL = "codi2: runs without a heartbeat have crashed", "codi2: tell of runs that ended badly"
BLOCK = "codi2"
HEARTBEAT = 30  # seconds between two; the least that Prefect takes
SILENCE = timedelta(seconds=5 * HEARTBEAT)  # a machine with too much to do is late, not dead
ENDED = ("Completed", "Failed", "Crashed", "Cancelled")
UNDER_WAY = ("RUNNING", "PENDING", "CANCELLING")
LEFT = "the server it ran under was ended"
# a run that gives way to the one under way is no failure
GAVE_WAY = "!Deployment concurrency limit*"
# how long a run may be so until it counts as lost: a worker needs a minute or two to start a run's process
WAITS = {"Pending": timedelta(minutes=5), "Late": timedelta(minutes=10)}
NEVER = {"Pending": "its worker took it and never began", "Late": "no worker took it"}
MESSAGE = """{"flow": {{ flow.name | tojson }}, "run_id": {{ flow_run.id | string | tojson }},
"state": {{ event.resource['prefect.state-name'] | lower | tojson }},
"reason": {{ (event.resource['prefect.state-message'] or '').split('\n')[0] | tojson }},
"root": {{ (flow_run.parameters.root or '') | tojson }}, "link": {{ flow_run | ui_url | tojson }}}"""


async def create_automations(client: PrefectClient, webhook: str | None) -> None:
    """The automations of a server, in place of those that an earlier call left there."""
    for name in (LOST, TELL):
        for found in await client.read_automations_by_name(name):
            await client.delete_automation(found.id)
    await client.create_automation(heartbeat_automation())
    if webhook:
        block = Webhook(url=webhook, headers={"Content-Type": "application/json"})  # type: ignore[arg-type]  # made a secret
        identity = await block.save(BLOCK, overwrite=True, client=client)  # type: ignore[misc]  # a coroutine here
        await client.create_automation(webhook_automation(identity))


def heartbeat_automation() -> AutomationCore:
    """A run that was heard of and then no more has crashed: its process was killed, or its machine."""
    trigger = EventTrigger(
        posture=Posture.Proactive,
        match={"prefect.resource.id": "prefect.flow-run.*"},
        for_each={"prefect.resource.id"},
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{state}" for state in ENDED)},
        threshold=1,
        within=SILENCE,
    )
    message = f"no heartbeat for {SILENCE.total_seconds():.0f} s: its process is gone"
    crashed = ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=message, force=False)
    return AutomationCore(name=LOST, trigger=trigger, actions=[crashed])


def webhook_automation(block: UUID) -> AutomationCore:
    trigger = EventTrigger(
        posture=Posture.Reactive,
        match={"prefect.resource.id": "prefect.flow-run.*", "prefect.state-message": GAVE_WAY},
        expect={f"prefect.flow-run.{state}" for state in ENDED if state != "Completed"},
        threshold=1,
        within=timedelta(0),
    )
    return AutomationCore(name=TELL, trigger=trigger, actions=[CallWebhook(block_document_id=block, payload=MESSAGE)])


async def mark_stuck_runs(client: PrefectClient, now: datetime) -> list[FlowRun]:
    """Runs that a worker took and never began (it was killed), or that no worker took, have crashed: nobody goes on with them,
    and one that is pending holds its deployment's place. Returns them. Those that wait for a place, or in a pool that
    someone paused, are left alone.
    """
    waiting = {"type": {"any_": ["PENDING", "SCHEDULED"]}, "name": {"any_": list(WAITS)}}
    found = []
    paused = {pool.name for pool in await client.read_work_pools() if pool.is_paused}
    for run in await client.read_flow_runs(flow_run_filter=FlowRunFilter(state=waiting)):  # type: ignore[arg-type]  # made a filter
        state = run.state
        if state is None or run.work_pool_name in paused or now - state.timestamp < WAITS[state.name or ""]:
            continue
        minutes = (now - state.timestamp).total_seconds() / 60
        message = (
            f"{state.name.lower() if state.name else 'waiting'} for {minutes:.0f} minutes: {NEVER[state.name or '']}"
        )
        await client.set_flow_run_state(run.id, Crashed(message=message), force=True)
        found.append(run)
    return found


async def mark_leftover_runs(client: PrefectClient) -> int:
    """Runs that an ended server left under way have crashed, and hold no place any more. Returns how many there were.

    Call it before a worker starts.
    """
    wanted = FlowRunFilter(state={"type": {"any_": UNDER_WAY}})  # type: ignore[arg-type]  # made a filter
    found = await client.read_flow_runs(flow_run_filter=wanted)
    for run in found:
        await client.set_flow_run_state(run.id, Crashed(message=LEFT), force=True)
    return len(found)
