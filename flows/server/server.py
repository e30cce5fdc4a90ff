"""`codi2 server`: a Prefect server, work pool, worker, all deployments and the page of `codi2 browse`, for one root.

It runs in the foreground. Prefect's files are in the cache, in one folder for each root, and never in the user's profile, so
that a later call has the history of earlier ones.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import asyncio
import fcntl
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from codi2_datasets.formats.hashing import sha256
from codi2_flows.runtime.webhook import WEBHOOK
from codi2_flows.server.processes import Child, adopt_orphans, descendants, end_all, reap_orphans
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.host import child_processes
from codi2_storage.host.folders import cache_home
from codi2_storage.host.shutdown import LAST_WORDS, SECONDS, stoppable
from codi2_storage.store import Store
from codi2_storage.uris import identity

HOME = "CODI2_SERVER_HOME"  # environment variable: folder of Prefect's files, instead of the cache
HOST = "127.0.0.1"
POOL = "default"
READY = 120.0  # seconds for the Prefect server to start
ENDING = 9.0  # seconds from Ctrl-C until all processes have ended, by SIGKILL if necessary
RUN_ENDS = 3.5  # of these, seconds for a run to end by itself and record its end
LOOK_EVERY = 3.0  # seconds between two checks of processes and runs
BUILD_EVERY = 15.0  # seconds between two checks for a new build and for stuck runs


class ServerError(RuntimeError):
    """The server cannot start; the message gives the reason."""


@dataclass(frozen=True)
class ServerConfig:
    """Root, ports and webhook of a server. Ports are on the loopback address."""

    root: str
    port: int
    page_port: int
    webhook: str | None = None

    @property
    def home(self) -> Path:
        """Folder of the server's files: Prefect's database, logs."""
        folder = os.environ.get(HOME)
        return Path(folder).absolute() if folder else cache_home() / "server" / sha256(identity(Store(self.root)))[:12]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def set_environment(self) -> None:
        """Configure Prefect in this process and its children for this server, overriding the user's settings.

        Call it before Prefect is imported.
        """
        for name in ("PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH", WEBHOOK):
            os.environ.pop(name, None)
        os.environ |= {
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_UI_URL": self.url,
            "PREFECT_SERVER_UI_API_URL": f"{self.url}/api",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": os.environ.get("CODI2_LOG_LEVEL", "INFO"),  # Prefect's page shows the logs of runs
            SECONDS: str(RUN_ENDS),
            **child_processes.OWN_CODE,
        }


@contextmanager
def exclusive(config: ServerConfig) -> Iterator[None]:
    """Hold the lock of the root's server, because two servers would start every run twice.

    Raises ServerError if another server is running for the root.
    """
    config.home.mkdir(parents=True, exist_ok=True)
    lock: IO[str] = (config.home / "lock").open("a+")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ServerError(
                f"--root {config.root}: a server for this root runs already: {lock.read().strip()}; stop that one first"
            ) from None
        lock.truncate(0)
        lock.write(f"{config.url} (process {os.getpid()})")
        lock.flush()
        yield


def running_server_url(root: str) -> str | None:
    """The URL of the server that runs for a root on this machine; None if there is none."""
    lock = ServerConfig(root, 0, 0).home / "lock"
    if not lock.exists():
        return None
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().partition(" ")[0] or None
        return None  # the lock is free: that server has ended


class Server:
    """The processes of one server. `start` starts them in order, `watch` restarts them, `end` ends them all."""

    def __init__(self, config: ServerConfig, deployments: Path) -> None:
        self.config, self.environment = config, dict(os.environ)
        self.browsed_build: str | None = None
        prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
        self.prefect = self.child("server", *prefect, "server", "start", "--host", HOST, "--port", str(config.port))
        self.worker = self.child("worker", *prefect, "worker", "start", "--pool", POOL, "--type", "process")
        browse = [sys.executable, "-m", "codi2_flows.cli.main", "browse", "--root", config.root]
        self.page = self.child("page", *browse, "--port", str(config.page_port))
        self.deploy = [*prefect, "deploy", "--all", "--prefect-file", str(deployments)]

    def child(self, name: str, *command: str) -> Child:
        return Child(name, command, self.environment, self.config.home / "logs" / f"{name}.log")

    def start(self) -> None:
        adopt_orphans()
        print_line("starting a Prefect server")
        self.prefect.start()
        self.wait_until_ready()
        from codi2_flows.server.run_watcher import prepare

        left = asyncio.run(prepare(self.config.webhook, POOL))
        if left:
            print_line(f"{left} runs of an earlier server had not ended: marked as crashed")
        print_line("deploying every flow")
        done = child_processes.run(self.deploy, env=self.environment, text=True)
        if done.returncode:
            reason = child_processes.last_line(done.stderr or done.stdout) or "no output"
            raise ServerError(f"`prefect deploy` failed: {reason}")
        self.worker.start()

    def wait_until_ready(self) -> None:
        end = time.monotonic() + READY
        while time.monotonic() < end and self.prefect.running:
            try:
                with urllib.request.urlopen(f"{self.config.url}/api/health", timeout=5) as response:
                    if json.load(response) is True:
                        return
            except (urllib.error.URLError, TimeoutError, OSError):
                time.sleep(0.3)
        raise ServerError(f"the Prefect server did not start; its log: {self.prefect.log}")

    def watch(self) -> None:
        """Loop until the server is stopped: restart ended processes, browse the latest build, print changes of runs."""
        from codi2_flows.server.run_watcher import RunWatcher, mark_stuck_runs

        watcher, checked = RunWatcher(), -BUILD_EVERY
        while True:
            for child in (self.prefect, self.worker, self.page):
                if child.ended:
                    child.start()
                    print_line(f"{child.name} ended and was restarted; its log: {child.log}")
            if time.monotonic() >= checked + BUILD_EVERY:
                checked = time.monotonic()
                self.browse_latest_build()
                asyncio.run(mark_stuck_runs())
            reap_orphans(self.own_pids())
            for line in watcher.changes():
                print_line(line)
            time.sleep(LOOK_EVERY)

    def browse_latest_build(self) -> None:
        """Restart `codi2 browse` when there is a new build."""
        latest = Catalog(self.config.root).latest_build()
        if latest is None or latest == self.browsed_build:
            return
        self.page.end(5)
        self.page.start()
        self.browsed_build = latest
        print_line(f"codi2 browse: http://{HOST}:{self.config.page_port}, build {latest}")

    def end(self) -> None:
        """End the worker first, so that no run starts, and its runs; the Prefect server last, so that it records their ends.

        Only the first process of a run gets SIGTERM, and ends its children. What remains is killed.
        """
        children = (self.worker, self.page, self.prefect)
        own = self.own_pids()
        adopters = {os.getpid(), self.worker.process.pid if self.worker.process else 0}
        runs = [process for process, parent in descendants().items() if process.pid not in own and parent in adopters]
        for child in (self.worker, self.page):
            if child.process:
                child.process.terminate()
        end_all(runs, RUN_ENDS + LAST_WORDS)
        for child in children:
            child.end(1)
        end_all(descendants(), 0.2)

    def own_pids(self) -> set[int]:
        return {child.process.pid for child in (self.prefect, self.worker, self.page) if child.process}


def run(config: ServerConfig, deployments: Path, build_now: bool = False) -> None:
    """Run the server until Ctrl-C or SIGTERM, then end all its processes. `build_now`: start a build with the server."""
    server = Server(config, deployments)
    with stoppable() as stopping:
        stopping.patience = ENDING
        try:
            server.start()
            from codi2_flows.server.run_watcher import schedule_lines, start_initial_runs

            for line in (f"Prefect page: {config.url}", *asyncio.run(schedule_lines())):
                print_line(line)
            for name in asyncio.run(start_initial_runs(config.root, build_now)):
                print_line(f"{name} starts")
            print_line("Ctrl-C ends the server and its runs")
            server.watch()
        except KeyboardInterrupt:
            stopping.heard = True
            print_line("ending the server; stopping active runs")
        finally:
            server.end()
    print_line("ended")


def print_line(line: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {line}", file=sys.stderr, flush=True)
