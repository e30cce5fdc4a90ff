"""Runs that never start: called crashed after minutes, told by webhook like others, and shown by `codi2 status`."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from codi2_flows.cli import runs
from codi2_flows.server import automations
from codi2_flows.server.automations import mark_stuck_runs

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Client:
    """The part of Prefect's client that is asked."""

    def __init__(self, *runs: tuple[str, str, float, str]) -> None:
        self.asked: Any = None
        self.crashed: dict[str, str] = {}
        self.runs = [
            SimpleNamespace(
                id=name, work_pool_name=pool, state=SimpleNamespace(name=state, timestamp=NOW - timedelta(minutes=minutes))
            )
            for name, state, minutes, pool in runs
        ]  # fmt: skip

    async def read_work_pools(self) -> list[Any]:
        return [SimpleNamespace(name="default", is_paused=False), SimpleNamespace(name="paused", is_paused=True)]

    async def read_flow_runs(self, flow_run_filter: Any) -> list[Any]:
        self.asked = flow_run_filter
        return self.runs

    async def set_flow_run_state(self, identity: str, state: Any, force: bool) -> None:
        assert force and state.type.value == "CRASHED"
        self.crashed[identity] = state.message


def test_a_run_that_waits_too_long_has_crashed_and_the_reason_says_since_when() -> None:
    client: Any = Client(
        ("killed worker", "Pending", 5.5, "default"),
        ("starting", "Pending", 4.5, "default"),
        ("no worker", "Late", 11, "default"),
        ("late", "Late", 9, "default"),
        ("by hand", "Late", 99, "paused"),
    )
    found = asyncio.run(mark_stuck_runs(client, NOW))
    assert [run.id for run in found] == ["killed worker", "no worker"]
    assert client.crashed == {
        "killed worker": "pending for 6 minutes: its worker took it but did not start it",
        "no worker": "late for 11 minutes: no worker took it",
    }
    assert client.asked.state.name.any_ == ["Pending", "Late"]  # those that await a place are not asked for


def test_the_webhook_hears_of_crashed_runs_but_of_none_that_gave_way() -> None:
    trigger = automations.webhook_automation(uuid4()).trigger
    assert "prefect.flow-run.Crashed" in trigger.expect
    assert trigger.match.root["prefect.state-message"] == "!Deployment concurrency limit*"


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[Any]]]:
    """A server that answers as Prefect's; gives the filters that it was asked with."""
    asked: list[Any] = []

    class RequestHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(question)
            data = json.dumps(self.answer(question)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def answer(self, question: dict[str, Any]) -> list[dict[str, Any]]:
            if "flows" in question:
                return [{"id": "f", "name": "build-dataset"}]
            run = {"flow_id": "f", "expected_start_time": "2026-01-01T02:00:00+00:00", "start_time": None}
            return {
                "SCHEDULED": [],
                "CANCELLED": [
                    {**run, "name": "second", "state": {"message": "Deployment concurrency limit reached."}},
                    {**run, "name": "by hand", "state": {"message": None}},
                ],
                "CRASHED": [
                    {**run, "name": "stuck", "state": {"message": "pending for 5 minutes: its worker took it but did not start it"}},
                    {**run, "name": "began", "state": {"message": "x"}, "start_time": "2026-01-01T02:00:01+00:00"},
                ],
            }[question["flow_runs"]["state"]["type"]["any_"][0]]  # fmt: skip

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), RequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
    yield lambda: asked
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("prefect")
def test_status_says_which_runs_gave_way_or_never_started_and_why(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.status(root=str(tmp_path), json=True)
    found = json.loads(capsys.readouterr().out)
    assert [(run["flow"], run["name"]) for run in found["gave_way"]] == [("build-dataset", "second")]
    assert [(run["name"], run["why"]) for run in found["never_started"]] == [
        ("stuck", "pending for 5 minutes: its worker took it but did not start it")
    ]
    runs.status(root=str(tmp_path))
    shown = " ".join(capsys.readouterr().out.split())
    assert "skipped" in shown and "Deployment concurrency limit reached." in shown and "by hand" not in shown
    assert "never started" in shown and "its worker took it but did not start it" in shown
