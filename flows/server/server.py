"""`codi2 server`: a Prefect server, a pool, a worker, every deployment and our page, in the foreground, for one root.

What Prefect keeps lies in the cache, in a folder for the root, never in the user's profile: a later call finds its history.
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
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

import psutil

from codi2_datasets.formats.hashing import sha256
from codi2_flows.runtime.processes import MARK, Child, descendants, end_all, marked, outermost
from codi2_flows.runtime.webhook import WEBHOOK
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.host import child_processes
from codi2_storage.host.folders import cache_home
from codi2_storage.host.shutdown import LAST_WORDS, SECONDS, stoppable
from codi2_storage.locations.uris import identity
from codi2_storage.store import Store

HOME = "CODI2_SERVER_HOME"  # where Prefect's own files lie, if not in the cache
HOST = "127.0.0.1"
POOL = "default"
READY = 120.0  # seconds that the server may take to answer
ENDING = 9.0  # seconds from Ctrl-C until everything is gone, by force where it must be
RUN_ENDS = 3.5  # of them, that a run may take to end by itself: what it does then is recorded
LOOK_EVERY = 3.0  # seconds between two looks at what goes on
BUILD_EVERY = 15.0  # and at which build is the latest, and for runs that are stuck


class ServerError(RuntimeError):
    """The server cannot start, or did not; the message says why."""


@dataclass(frozen=True)
class Place:
    """Where a server stands. Ports are of the loopback address."""

    root: str
    port: int
    page_port: int
    webhook: str | None = None

    @property
    def home(self) -> Path:
        """Of everything that is kept for this root's server: Prefect's database, logs."""
        folder = os.environ.get(HOME)
        return Path(folder).absolute() if folder else cache_home() / "server" / sha256(identity(Store(self.root)))[:12]

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"

    def take_environment(self) -> None:
        """Make this process, and those it starts, Prefect of this server, whatever the user's own settings say.

        Prefect must not be imported yet.
        """
        for name in ("PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH", WEBHOOK):
            os.environ.pop(name, None)
        os.environ |= {
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": f"{self.address}/api",
            "PREFECT_UI_URL": self.address,
            "PREFECT_SERVER_UI_API_URL": f"{self.address}/api",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": os.environ.get("CODI2_LOG_LEVEL", "INFO"),  # the page shows what runs say
            MARK: uuid.uuid4().hex,
            SECONDS: str(RUN_ENDS),
            **child_processes.OWN_CODE,
        }


@contextmanager
def alone(place: Place) -> Iterator[None]:
    """One server for a root: two would start every run twice. Raises ServerError where another runs."""
    place.home.mkdir(parents=True, exist_ok=True)
    lock: IO[str] = (place.home / "lock").open("a+")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ServerError(f"a server for {place.root} runs already: {lock.read().strip()}") from None
        lock.truncate(0)
        lock.write(f"{place.address} (process {os.getpid()})")
        lock.flush()
        yield


def running_server_url(root: str) -> str | None:
    """The address of the server that runs for a root on this machine; None where none does."""
    lock = Place(root, 0, 0).home / "lock"
    if not lock.exists():
        return None
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().partition(" ")[0] or None
        return None  # nobody holds it: that server has ended


class Server:
    """The processes of one server. `start` brings them up in order, `watch` keeps them up, `end` ends them all."""

    def __init__(self, place: Place, deployments: Path) -> None:
        self.place, self.mark, self.environment = place, os.environ[MARK], dict(os.environ)
        self.seen: str | None = None  # the build that our page shows
        self.started: set[psutil.Process] = set()  # what the worker and its runs started, as far as we saw
        prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
        self.prefect = self.child("server", *prefect, "server", "start", "--host", HOST, "--port", str(place.port))
        self.worker = self.child("worker", *prefect, "worker", "start", "--pool", POOL, "--type", "process")
        browse = [sys.executable, "-m", "codi2_flows.cli.main", "browse", "--root", place.root]
        self.page = self.child("page", *browse, "--port", str(place.page_port))
        self.deploy = [*prefect, "deploy", "--all", "--prefect-file", str(deployments)]

    def child(self, name: str, *command: str) -> Child:
        return Child(name, command, self.environment, self.place.home / "logs" / f"{name}.log")

    def start(self) -> None:
        say("starting a Prefect server")
        self.prefect.start()
        self.wait_until_ready()
        from codi2_flows.server.run_watcher import prepare

        left = asyncio.run(prepare(self.place.webhook, POOL))
        if left:
            say(f"{left} runs of an earlier server had not ended: marked as crashed")
        say("deploying every flow")
        done = child_processes.run(self.deploy, env=self.environment, text=True)
        if done.returncode:
            raise ServerError(f"deploying failed: {last_line(done.stderr or done.stdout)}")
        self.worker.start()

    def wait_until_ready(self) -> None:
        end = time.monotonic() + READY
        while time.monotonic() < end and self.prefect.running:
            try:
                with urllib.request.urlopen(f"{self.place.address}/api/health", timeout=5) as answer:
                    if json.load(answer) is True:
                        return
            except (urllib.error.URLError, TimeoutError, OSError):
                time.sleep(0.3)
        raise ServerError(f"Prefect's server did not start; what it said: {self.prefect.log}")

    def watch(self) -> None:
        """Until someone ends it: start again what ended, start our page once there is something to see, say what runs."""
        from codi2_flows.server.run_watcher import RunWatcher, mark_stuck_runs

        follower, looked = RunWatcher(), -BUILD_EVERY
        while True:
            for child in (self.prefect, self.worker, self.page):
                if child.keep():
                    say(f"{child.name} had ended and was started again; what it said: {child.log}")
            if time.monotonic() >= looked + BUILD_EVERY:
                looked = time.monotonic()
                self.show_latest()
                asyncio.run(mark_stuck_runs())
            for line in follower.news():
                say(line)
            self.started = {one for one in self.started if one.is_running()} | descendants(self.worker.process)
            time.sleep(LOOK_EVERY)

    def show_latest(self) -> None:
        """Our page over the latest build, once there is one: the page is started anew for each."""
        latest = Catalog(self.place.root).latest_build()
        if latest is None or latest == self.seen:
            return
        self.page.end(5)
        self.page.start()
        self.seen = latest
        say(f"our page: http://{HOST}:{self.place.page_port}, build {latest}")

    def end(self) -> None:
        """First the worker, so that nothing starts, with the runs; the server last: it hears how they ended.

        Runs are asked alone, and end what they started; whatever is there after them is swept up.
        """
        self.started |= descendants(self.worker.process) | marked(self.mark)
        runs = outermost([one for one in self.started if one.pid not in self.own() and one.is_running()])
        self.worker.ask_to_end()
        self.page.ask_to_end()
        end_all(runs, RUN_ENDS + LAST_WORDS)
        for child in (self.worker, self.page, self.prefect):
            child.end(1)
        end_all(self.started | marked(self.mark), 0.2)

    def own(self) -> set[int]:
        return {child.process.pid for child in (self.prefect, self.worker, self.page) if child.process}


def run(place: Place, deployments: Path, at_once: bool = False) -> None:
    """Serve until Ctrl-C or SIGTERM, then end everything that was started. `at_once`: a build starts with the server."""
    server = Server(place, deployments)
    with stoppable() as stopping:
        stopping.patience = ENDING
        try:
            server.start()
            from codi2_flows.server.run_watcher import begin, schedule_lines

            for line in (f"Prefect's page: {place.address}", *asyncio.run(schedule_lines())):
                say(line)
            for name in asyncio.run(begin(place.root, at_once)):
                say(f"{name} begins")
            say("Ctrl-C ends all of it")
            server.watch()
        except KeyboardInterrupt:
            stopping.heard = True
            say("ending; runs under way are told to stop")
        finally:
            server.end()
    say("ended")


def say(line: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {line}", file=sys.stderr, flush=True)


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
