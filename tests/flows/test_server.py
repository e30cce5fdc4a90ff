"""codi2 server: everything comes up by one command, runs start by themselves, and nothing is left when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from codi2_flows.deploying import Chosen, DeployError, parse_every

RECIPE = {
    "name": "words",
    "seed": 3,
    "corpora": [{"name": "chitchat"}],
    "tasks": {"text_instruction": {"train": 20, "validation": 4, "test": 4}},
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Started:
    """`codi2 server` as a user starts it, and its API."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.port = folder, free_port()
        self.log = folder / "server.txt"
        (folder / "words.yaml").write_text(yaml.safe_dump(RECIPE))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(*options), cwd=folder, stdout=log, stderr=log, env=self.environment
            )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "CODI2_SERVER_HOME": str(self.folder / "home")}

    def command(self, *options: str) -> list[str]:
        ports = ["--port", str(self.port), "--page-port", "0", "--model-port", "0"]
        about = ["--root", "root", "--recipe", "words.yaml", "--config", "test"]
        return [sys.executable, "-m", "codi2_flows.cli", "server", *about, *ports, *options]

    def said(self, words: str, seconds: float = 200.0) -> str:
        """The line that holds the words, once it is said."""

        def found() -> str | None:
            assert self.process.poll() is None, self.log.read_text()
            return next((line for line in self.log.read_text().splitlines() if words in line), None)

        return wait_for(found, seconds, lambda: f"never said {words!r}:\n{self.log.read_text()}")

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/{path}"
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json"})) as answer:
            return json.load(answer)

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """Runs of a flow that have begun or ended, the first that was made first."""
        wanted = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED"]}}}}
        return sorted(self.ask("flow_runs/filter", wanted), key=lambda run: run["created"])

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(90)


def wait_for(look: Callable[[], Any], seconds: float, why: Callable[[], str]) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.3)
    raise AssertionError(why())


@pytest.fixture(scope="module")
def told() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a receiver of webhooks, and what it has received."""
    messages: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    receiver = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{receiver.server_port}/told", messages
    receiver.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, told: tuple[str, list[dict[str, Any]]]) -> Iterator[Started]:
    started = Started(tmp_path_factory.mktemp("server"), "--every", "1h", "--webhook", told[0])
    try:
        started.said("Ctrl-C ends all of it")
        yield started
    finally:
        with suppress(ProcessLookupError):
            started.end()


def test_every_flow_is_deployed_and_schedules_are_active(server: Started) -> None:
    names = {deployment["name"] for deployment in server.ask("deployments/filter", {})}
    assert {"nightly", "weekly", "rollout", "on-checkpoint", "on-demand"} <= names
    scheduled = server.ask("flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
    assert any(run["name"] and run["auto_scheduled"] for run in scheduled)


def test_a_published_build_starts_a_retrain_and_our_page(server: Started) -> None:
    server.said("build-dataset completed")
    retrain = wait_for(lambda: server.runs("retrain"), 60, lambda: server.log.read_text())[0]
    assert retrain["parameters"]["root"] == str(server.folder / "root")
    assert (
        retrain["parameters"]["recipe"] == str(server.folder / "words.yaml") and retrain["parameters"]["limit"] is None
    )
    address = server.said("our page: ").rpartition(" ")[2]
    with urllib.request.urlopen(f"{address}/api/about") as answer:
        assert json.load(answer)


def test_a_killed_run_is_told_by_webhook(server: Started, told: tuple[str, list[dict[str, Any]]]) -> None:
    def flow_process() -> psutil.Process | None:
        found = [one for one in server.descendants() if "prefect.engine" in " ".join(one.cmdline())]
        return found[0] if found else None

    wait_for(flow_process, 60, lambda: server.log.read_text()).kill()
    [message] = wait_for(lambda: [one for one in told[1] if one["state"] == "crashed"], 60, lambda: str(told[1]))
    assert message["flow"] == "retrain" and message["root"] == str(server.folder / "root")
    assert message["run_id"] in message["link"] and "9" in message["reason"] and "\n" not in message["reason"]


def test_a_second_server_says_what_is_in_its_way(server: Started) -> None:
    again = subprocess.run(server.command(), cwd=server.folder, env=server.environment, capture_output=True, text=True)
    assert again.returncode == 1
    assert again.stderr.startswith(f"codi2: --port {server.port} is taken") and again.stderr.count("\n") == 1
    server_port, server.port = server.port, free_port()
    again = subprocess.run(server.command(), cwd=server.folder, env=server.environment, capture_output=True, text=True)
    server.port = server_port
    assert again.returncode == 1 and f"runs already: http://127.0.0.1:{server_port}" in again.stderr


def test_ending_it_leaves_no_process(server: Started) -> None:
    processes = server.descendants()
    assert len(processes) >= 3
    server.end()
    assert server.process.returncode == 0
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert not alive and server.log.read_text().splitlines()[-1].endswith("ended")


@pytest.mark.slow
def test_it_starts_again_where_it_was_killed(tmp_path: Path) -> None:
    first = Started(tmp_path, "--every", "1h")
    first.said("build-dataset running")
    processes = first.descendants()
    first.process.kill()
    first.process.wait()
    psutil.wait_procs(processes, timeout=60)
    second = Started(tmp_path, "--every", "1h")
    second.said("build-dataset completed", 180)
    second.end()
    assert second.process.returncode == 0


@pytest.mark.parametrize("text, seconds", [("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86400)])
def test_every_is_a_number_with_a_unit(text: str, seconds: int) -> None:
    assert parse_every(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["5", "m", "5 minutes", "-5m", "0s", "9s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(DeployError, match="--every"):
        parse_every(text)


def test_schedules_that_do_not_hold_name_their_option() -> None:
    with pytest.raises(DeployError, match="--nightly 'every night'"):
        Chosen("/data", nightly="every night")
    with pytest.raises(DeployError, match="--nightly and --every"):
        Chosen("/data", nightly="0 2 * * *", every=timedelta(minutes=5))


def test_a_bad_option_is_one_line_and_the_status_of_bad_usage(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "codi2_flows.cli", "server", "--port", "0", "--page-port", "0"]
    result = subprocess.run([*command, "--webhook", "example.org"], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("codi2: --webhook example.org") and result.stderr.count("\n") == 1
