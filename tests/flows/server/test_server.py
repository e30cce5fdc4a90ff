"""codi2 server: everything comes up by one command, runs start by themselves, and nothing is left when it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from codi2_flows.server.deployments import DeploymentOptions, parse_interval
from codi2_storage.errors import UsageError

pytestmark = pytest.mark.timeout(900)  # machines that do much else at a time take minutes to start a server


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, start_server: Callable[..., Any], told: tuple[str, list[dict[str, Any]]]
) -> Iterator[Any]:
    started = start_server(tmp_path_factory.mktemp("server"), "--every", "1h", "--webhook", told[0])
    try:
        started.said("Ctrl-C ends")
        yield started
    finally:
        with suppress(ProcessLookupError):
            started.end()


def test_every_flow_is_deployed_and_schedules_are_active(server: Any) -> None:
    names = {deployment["name"] for deployment in server.ask("deployments/filter", {})}
    assert {"nightly", "weekly", "rollout", "on-checkpoint", "on-demand"} <= names
    status = [sys.executable, "-m", "codi2_flows.cli.main", "status", "--root", "root", "--json"]

    def scheduled() -> list[str] | None:
        ran = subprocess.run(
            status, cwd=server.folder, env=server.environment, capture_output=True, text=True, check=True
        )
        rows = json.loads(ran.stdout)[
            "scheduled"
        ]  # it found the server of its root by itself; None while that is too busy
        return rows and sorted(row["flow"] for row in rows)

    flows = server.wait_for(scheduled, 60, "what is scheduled")
    assert flows == ["build-dataset", "collect-garbage", "resume-crashed", "retrain"]


def test_a_published_build_starts_a_retrain_and_our_page(server: Any) -> None:
    server.said("build-dataset completed")
    retrain = server.wait_for(lambda: server.runs("retrain"), 240, "a retrain")[0]
    assert retrain["parameters"]["root"] == str(server.folder / "root")
    assert (
        retrain["parameters"]["recipe"] == str(server.folder / "words.yaml") and retrain["parameters"]["limit"] is None
    )
    address = server.said("codi2 browse: ").partition("codi2 browse: ")[2].partition(",")[0]

    def about() -> Any:
        with suppress(urllib.error.URLError), urllib.request.urlopen(f"{address}/api/about") as answer:
            return json.load(answer)

    assert server.wait_for(about, 120, "our page")


def test_a_run_that_crashed_as_it_began_is_run_again(server: Any) -> None:
    """Nothing in the catalog knows of it: Prefect's word alone starts it anew, and its parameters are those it had."""
    begun = lambda: [one for one in server.runs("build-dataset") if one["state"]["name"] == "Completed"]  # noqa: E731
    server.wait_for(begun, 240, "the build at once")  # a run of the same flow that began later would stand for this one
    known = {flow["name"]: flow["id"] for flow in server.ask("flows/filter", {})}
    given = {"recipe": "words.yaml", "root": "root", "workers": 1, "limit": 5}
    body = {"flow_id": known["build-dataset"], "parameters": given, "state": {"type": "RUNNING", "name": "Running"}}
    run = server.ask("flow_runs/", body)["id"]
    crashed = {"state": {"type": "CRASHED", "name": "Crashed", "message": "killed"}, "force": True}
    server.ask(f"flow_runs/{run}/set_state", crashed)

    def again() -> Any:
        runs = [one for one in server.runs("build-dataset") if one["parameters"].get("limit") == 5]
        return len(runs) == 2 and runs[1]["state"]["name"] == "Completed"

    server.wait_for(again, 240, "the same build once more")


def test_a_killed_run_is_told_by_webhook(server: Any, told: tuple[str, list[dict[str, Any]]]) -> None:
    def flow_process() -> psutil.Process | None:
        busy = any(run["state"]["type"] == "RUNNING" for run in server.runs("resume-crashed"))
        for one in server.descendants():
            with suppress(psutil.Error):  # it has ended
                if "prefect.engine" in " ".join(one.cmdline()) and not busy:
                    return one
        return None

    def crashed() -> list[dict[str, Any]]:
        return [one for one in told[1] if one["state"] == "crashed" and one["flow"] != "build-dataset"]

    server.wait_for(flow_process, 240, "the process of a flow").kill()
    [message] = server.wait_for(crashed, 240, "a message")
    assert message["flow"] in ("retrain", "serve-model") and message["root"] == str(server.folder / "root")
    assert message["run_id"] in message["link"] and "9" in message["reason"] and "\n" not in message["reason"]


def test_a_second_server_says_what_is_in_its_way(server: Any) -> None:
    again = subprocess.run(server.command(), cwd=server.folder, env=server.environment, capture_output=True, text=True)
    assert again.returncode == 1
    assert again.stderr.startswith(f"codi2: --port {server.port} is taken") and again.stderr.count("\n") == 1
    server_port, server.port = server.port, server.free_port()
    again = subprocess.run(server.command(), cwd=server.folder, env=server.environment, capture_output=True, text=True)
    server.port = server_port
    assert again.returncode == 1 and f"runs already: http://127.0.0.1:{server_port}" in again.stderr


def test_ending_it_leaves_no_process(server: Any) -> None:
    processes = server.descendants()
    assert len(processes) >= 3
    server.end()
    assert server.process.returncode == 0
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert not alive and server.log.read_text().splitlines()[-1].endswith("ended")


@pytest.mark.slow
def test_it_starts_again_where_it_was_killed(tmp_path: Path, start_server: Callable[..., Any]) -> None:
    first = start_server(tmp_path, "--every", "1h")
    first.said("build-dataset running")
    processes = first.descendants()
    first.process.kill()
    first.process.wait()
    psutil.wait_procs(processes, timeout=60)
    second = start_server(tmp_path, "--every", "1h")
    second.said("build-dataset completed", 180)
    second.end()
    assert second.process.returncode == 0


@pytest.mark.parametrize("text, seconds", [("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86400)])
def test_every_is_a_number_with_a_unit(text: str, seconds: int) -> None:
    assert parse_interval(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["5", "m", "5 minutes", "-5m", "0s", "9s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--every"):
        parse_interval(text)


def test_schedules_that_do_not_hold_name_their_option() -> None:
    with pytest.raises(UsageError, match="--nightly 'every night'"):
        DeploymentOptions("/data", nightly="every night")
    with pytest.raises(UsageError, match="--nightly and --every"):
        DeploymentOptions("/data", nightly="0 2 * * *", every=timedelta(minutes=5))


def test_a_bad_option_is_one_line_and_the_status_of_bad_usage(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "codi2_flows.cli.main", "server", "--port", "0", "--page-port", "0"]
    result = subprocess.run([*command, "--webhook", "example.org"], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("codi2: --webhook example.org") and result.stderr.count("\n") == 1
