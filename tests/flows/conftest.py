"""What tests of flows share: `codi2 server` as a user starts it, and a receiver of webhooks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from codi2_model.training.config import PRESETS

RECIPE = {
    "name": "words",
    "seed": 3,
    "corpora": [{"name": "chitchat"}],
    "tasks": {"text_instruction": {"train": 20, "validation": 4, "test": 4}},
}


def training() -> dict[str, Any]:
    """The config for tests, of the one task that the recipe has."""
    config = yaml.safe_load((PRESETS / "test.yaml").read_text())
    for name in ("align", "decoders", "mllm"):
        config[name] |= {"tasks": {"text_instruction": 1}} | ({} if name == "mllm" else {"steps": 0})
    return config


class Started:
    """`codi2 server` as a user starts it, and its API."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.port = folder, self.free_port()
        self.log = folder / "server.txt"
        (folder / "words.yaml").write_text(yaml.safe_dump(RECIPE))
        (folder / "training.yaml").write_text(yaml.safe_dump(training()))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(*options), cwd=folder, stdout=log, stderr=log, env=self.environment
            )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "CODI2_SERVER_HOME": str(self.folder / "home")}

    def command(self, *options: str) -> list[str]:
        ports = ["--port", str(self.port), "--page-port", "0", "--model-port", "0"]
        about = ["--root", "root", "--recipe", "words.yaml", "--config", "training.yaml"]
        return [sys.executable, "-m", "codi2_flows.cli.main", "server", *about, *ports, *options]

    def said(self, words: str, seconds: float = 280.0) -> str:
        """The line that holds the words, once it is said."""

        def found() -> str | None:
            assert self.process.poll() is None, self.log.read_text()
            return next((line for line in self.log.read_text().splitlines() if words in line), None)

        return self.wait_for(found, seconds, repr(words))

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)

        def answer() -> bytes | None:
            """None for a 503: its SQLite database is locked. Prefect's own client asks again too."""
            try:
                with urllib.request.urlopen(request) as response:
                    return bytes(response.read()) or b"null"
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    raise
                return None

        return json.loads(self.wait_for(answer, 60, f"an answer of {path}"))

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """Runs of a flow that have begun or ended, the first that was made first."""
        wanted = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED"]}}}}
        return sorted(self.ask("flow_runs/filter", wanted), key=lambda run: run["created"])

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(90)

    def wait_for(self, look: Callable[[], Any], seconds: float, what: str = "it") -> Any:
        """What a look gives, once it gives anything."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := look():
                return found
            time.sleep(0.3)
        raise AssertionError(f"{what} never came:\n{self.log.read_text()}")

    @staticmethod
    def free_port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def start_server() -> Callable[..., Started]:
    """`start_server(folder, *options)`."""
    return Started


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
    receiver.server_close()
    thread.join()
