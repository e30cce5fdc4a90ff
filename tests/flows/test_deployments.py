"""prefect.yaml and its twin for clusters: every flow is deployed, entry points load anywhere, triggers hear what is told."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.schemas.schedules import CronSchedule
from prefect.events import DeploymentEventTrigger
from prefect.flows import load_flow_from_entrypoint

from codi2_flows.runtime import events
from codi2_flows.server.deployments import DeploymentOptions, deployments_file, render

ROOT = Path(__file__).parents[2]
LOCAL = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
CLUSTER = yaml.safe_load((ROOT / "flows/cluster/prefect.cluster.yaml").read_text())["deployments"]
EVENTS = {events.BUILD_PUBLISHED, events.MODEL_TRAINED, events.MODEL_PROMOTED}
CRASHED = {"prefect.flow-run.Crashed"}  # told by Prefect itself
PAYLOADS = {
    events.BUILD_PUBLISHED: {"root", "build_id", "samples", "recipe", "limit"},
    events.MODEL_TRAINED: {"root", "checkpoint_id", "uri"},
    events.MODEL_PROMOTED: {"root", "checkpoint_id", "uri"},
}


def named(deployment: dict[str, Any]) -> str:
    return f"{deployment['entrypoint'].rpartition('.')[2]}/{deployment['name']}"


def flows_of_the_house() -> Iterator[str]:
    """Entry points of every function that is decorated as a flow."""
    for file in sorted((ROOT / "flows").glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(one, ast.Call) and getattr(one.func, "id", "") == "flow" for one in node.decorator_list
            ):
                yield f"codi2_flows.{file.stem}.{node.name}"


@pytest.mark.parametrize("deployment", [*LOCAL, *CLUSTER], ids=named)
def test_entry_points_load_and_take_their_parameters(
    deployment: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # an installed package has no folder of the repository around it
    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    known = inspect.signature(flow.fn).parameters
    assert set(deployment["parameters"]) <= set(known)
    required = {name for name, value in known.items() if value.default is inspect.Parameter.empty}
    assert required <= set(deployment["parameters"])


def test_every_flow_is_deployed_once_for_each_kind_of_pool() -> None:
    wanted = sorted(flows_of_the_house())
    assert sorted(deployment["entrypoint"] for deployment in LOCAL) == wanted
    for kind in ("docker", "kubernetes"):
        here = [deployment for deployment in CLUSTER if deployment["work_pool"]["name"] == kind]
        assert sorted(deployment["entrypoint"] for deployment in here) == wanted


def test_deployments_of_clusters_say_what_the_local_ones_say() -> None:
    local = {deployment["entrypoint"]: deployment for deployment in LOCAL}
    for deployment in CLUSTER:
        twin, kind = local[deployment["entrypoint"]], deployment["work_pool"]["name"]
        assert deployment["name"] == f"{twin['name']}-{kind}"
        assert set(deployment["parameters"]) == set(twin["parameters"])
        for part in ("description", "schedules", "triggers", "tags", "concurrency_limit"):
            assert deployment.get(part) == twin.get(part), (named(deployment), part)


@pytest.mark.parametrize("deployment", [*LOCAL, *CLUSTER], ids=named)
def test_schedules_triggers_and_limits_are_such_that_prefect_takes_them(deployment: dict[str, Any]) -> None:
    for schedule in deployment.get("schedules", []):
        assert schedule["timezone"] == "UTC" and schedule.get("active", True)
        if "cron" in schedule:
            CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    limit = deployment["concurrency_limit"]
    assert limit["limit"] == 1 and limit["collision_strategy"] in ("ENQUEUE", "CANCEL_NEW")
    assert {"codi2"} < set(deployment["tags"])
    known = inspect.signature(load_flow_from_entrypoint(deployment["entrypoint"]).fn).parameters
    for trigger in deployment.get("triggers", []):
        checked = DeploymentEventTrigger(**trigger)
        if checked.expect == CRASHED:
            continue
        assert checked.expect <= EVENTS and checked.expect
        assert set(trigger["parameters"]) <= set(known)
        [event] = trigger["expect"]
        fields = {
            value.removeprefix("{{ event.payload.").removesuffix(" }}") for value in trigger["parameters"].values()
        }
        assert fields <= PAYLOADS[event]


def test_each_event_that_is_told_is_heard_by_one_deployment() -> None:
    heard = [event for deployment in LOCAL for trigger in deployment.get("triggers", []) for event in trigger["expect"]]
    assert sorted(heard) == sorted(EVENTS | CRASHED)


def test_what_a_server_is_started_with_takes_the_place_of_the_file() -> None:
    chosen = DeploymentOptions(
        "/data/root", "/data/my.yaml", "test", 3, 7, 9000, weekly="0 4 * * 1", every=timedelta(minutes=5)
    )
    made = {one["entrypoint"]: one for one in render(chosen, datetime(2026, 1, 1, tzinfo=UTC))["deployments"]}
    build = made["codi2_flows.build_dataset.build_dataset"]
    asked = {"recipe": "/data/my.yaml", "root": "/data/root", "workers": 3, "limit": 7}
    assert build["parameters"].items() >= asked.items()
    [every] = build["schedules"]
    assert every["interval"] == 300 and every["anchor_date"] == "2026-01-01T00:00:00+00:00"
    assert made["codi2_flows.retrain.retrain"]["schedules"][0]["cron"] == "0 4 * * 1"
    assert made["codi2_flows.serve_model.serve_model"]["parameters"]["port"] == 9000
    assert made["codi2_flows.speedrun.speedrun"]["parameters"]["recipe"] == "open"
    assert all(one["parameters"].get("root", "/data/root") == "/data/root" for one in made.values())


def test_an_installed_package_holds_the_deployments(tmp_path: Path) -> None:
    assert deployments_file().read_text() == (ROOT / "prefect.yaml").read_text()
    code = "import codi2_flows.server.deployments as d; print(d.render(d.DeploymentOptions('/data'))['name'])"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "codi2"
