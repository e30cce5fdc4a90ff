"""Automations of the Prefect server: runs without a heartbeat are marked as crashed, and bad ends are sent to the webhook.

Also marks runs that are stuck before their start, and runs that an earlier server left.
"""

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

HEARTBEAT_RULE = "codi2: runs without a heartbeat have crashed"  # names of the automations
WEBHOOK_RULE = "codi2: tell of runs that ended badly"
BLOCK = "codi2"
HEARTBEAT = 30  # seconds between heartbeats, the minimum of Prefect
SILENCE = timedelta(seconds=5 * HEARTBEAT)  # tolerates late heartbeats of a busy machine
ENDED = ("Completed", "Failed", "Crashed", "Cancelled")
ACTIVE = ("RUNNING", "PENDING", "CANCELLING")
SERVER_ENDED = "the server of this run ended"
# a run that was skipped because another one is active is not a failure
NOT_SKIPPED = "!Deployment concurrency limit*"
# how long a run may stay in a state before it counts as stuck: a worker needs a minute or two to start a process
STUCK_AFTER = {"Pending": timedelta(minutes=5), "Late": timedelta(minutes=10)}
STUCK_BECAUSE = {"Pending": "its worker took it but did not start it", "Late": "no worker took it"}
MESSAGE = """{"flow": {{ flow.name | tojson }}, "run_id": {{ flow_run.id | string | tojson }},
"state": {{ event.resource['prefect.state-name'] | lower | tojson }},
"reason": {{ (event.resource['prefect.state-message'] or '').split('\n')[0] | tojson }},
"root": {{ (flow_run.parameters.root or '') | tojson }}, "link": {{ flow_run | ui_url | tojson }}}"""


async def create_automations(client: PrefectClient, webhook: str | None) -> None:
    """Create the automations of a server, replacing those of an earlier call."""
    for name in (HEARTBEAT_RULE, WEBHOOK_RULE):
        for automation in await client.read_automations_by_name(name):
            await client.delete_automation(automation.id)
    await client.create_automation(heartbeat_automation())
    if webhook:
        block = Webhook(url=webhook, headers={"Content-Type": "application/json"})  # type: ignore[arg-type]  # made a secret
        identity = await block.save(BLOCK, overwrite=True, client=client)  # type: ignore[misc]  # a coroutine here
        await client.create_automation(webhook_automation(identity))


def heartbeat_automation() -> AutomationCore:
    """Marks a run as crashed whose heartbeats stopped: its process or machine was killed."""
    trigger = EventTrigger(
        posture=Posture.Proactive,
        match={"prefect.resource.id": "prefect.flow-run.*"},
        for_each={"prefect.resource.id"},
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{state}" for state in ENDED)},
        threshold=1,
        within=SILENCE,
    )
    message = f"no heartbeat for {SILENCE.total_seconds():.0f} s: its process has ended"
    crashed = ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=message, force=False)
    return AutomationCore(name=HEARTBEAT_RULE, trigger=trigger, actions=[crashed])


def webhook_automation(block: UUID) -> AutomationCore:
    """Posts runs that failed, crashed or were cancelled to the webhook. `block`: id of the webhook block."""
    trigger = EventTrigger(
        posture=Posture.Reactive,
        match={"prefect.resource.id": "prefect.flow-run.*", "prefect.state-message": NOT_SKIPPED},
        expect={f"prefect.flow-run.{state}" for state in ENDED if state != "Completed"},
        threshold=1,
        within=timedelta(0),
    )
    return AutomationCore(
        name=WEBHOOK_RULE, trigger=trigger, actions=[CallWebhook(block_document_id=block, payload=MESSAGE)]
    )


async def mark_stuck_runs(client: PrefectClient, now: datetime) -> list[FlowRun]:
    """Mark runs as crashed that a killed worker took but did not start, or that no worker took. Returns them.

    Nothing would continue them, and a pending run occupies the concurrency limit of its deployment. Runs that wait for
    that limit, or in a paused pool, are not touched.
    """
    waiting = {"type": {"any_": ["PENDING", "SCHEDULED"]}, "name": {"any_": list(STUCK_AFTER)}}
    stuck = []
    paused = {pool.name for pool in await client.read_work_pools() if pool.is_paused}
    for run in await client.read_flow_runs(flow_run_filter=FlowRunFilter(state=waiting)):  # type: ignore[arg-type]  # made a filter
        state = run.state
        if state is None or run.work_pool_name in paused or now - state.timestamp < STUCK_AFTER[state.name or ""]:
            continue
        minutes = (now - state.timestamp).total_seconds() / 60
        message = (
            f"{state.name.lower() if state.name else 'waiting'} for {minutes:.0f} minutes: "
            f"{STUCK_BECAUSE[state.name or '']}"
        )
        await client.set_flow_run_state(run.id, Crashed(message=message), force=True)
        stuck.append(run)
    return stuck


async def mark_leftover_runs(client: PrefectClient) -> int:
    """Mark runs as crashed that an earlier server left active, so that they free their concurrency limits.

    Call it before a worker starts. Returns the number of runs.
    """
    active = FlowRunFilter(state={"type": {"any_": ACTIVE}})  # type: ignore[arg-type]  # made a filter
    runs = await client.read_flow_runs(flow_run_filter=active)
    for run in runs:
        await client.set_flow_run_state(run.id, Crashed(message=SERVER_ENDED), force=True)
    return len(runs)
