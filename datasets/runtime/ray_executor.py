"""Runs functions over items on Ray with a bounded number in flight, and starts a local Ray cluster when needed.

Operators do not depend on it: they are plain functions from an item to a result.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from codi2_datasets.runtime.ray_cleanup import reap_ray_processes
from codi2_datasets.runtime.worker_logs import logs_enabled, replay_logs, with_worker_logs
from codi2_storage.host.folders import CACHE, SOCKET_PATH, HomeError, cache_home, socket_folder
from codi2_storage.host.loopback import spare_loopback
from codi2_storage.host.shutdown import requested

Item = TypeVar("Item")
Result = TypeVar("Result")

# A Ray head queries cloud metadata addresses even with usage statistics off, unless a file in its HOME marks it as a
# local cluster. `quiet_ray_home` holds that file; the user's own HOME is never changed.
LOOPBACK_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_prestart_worker_first_driver": "0",  # otherwise a driver waits forever if its first worker dies during start-up
    "PYTHONWARNINGS": "ignore",
}
RAY_TMPDIR = "RAY_TMPDIR"
RAY_SOCKET = len("/session_2026-01-01_00-00-00_123456_4194304/sockets/plasma_store")
ANSWER_SECONDS = 10.0  # timeout for reaching a Ray cluster at RAY_ADDRESS
FEW = 12  # items whose work is not worth the seconds that Ray takes to start
RETRIES = 3  # runs of an item whose worker died
SETTLE_SECONDS = 30.0  # timeout for tasks in flight to end after an error


def quiet_ray_home() -> Path:
    home = cache_home() / "ray-home"
    home.mkdir(parents=True, exist_ok=True)
    marker = home / "ray_bootstrap_config.yaml"
    if not marker.exists():
        marker.write_text("provider: {type: local}\n")
    return home


@contextmanager
def local_cluster(num_cpus: int | None = None) -> Iterator[None]:
    """A Ray cluster: the one already joined, the one RAY_ADDRESS names, or a local one for the duration."""
    if os.environ.get("RAY_ADDRESS"):
        import ray

        joined = ray.is_initialized()
        if not joined:
            check_address(os.environ["RAY_ADDRESS"])
            with handlers_kept():
                ray.init(log_to_driver=False, logging_level=logging.WARNING)
        try:
            yield
        finally:
            if not joined:
                ray.shutdown()
        return

    os.environ.setdefault(CACHE, str(cache_home()))  # workers have another HOME
    spare_loopback()
    for name, value in LOOPBACK_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    folder = ray_folder()
    with reap_ray_processes(folder):
        with home_of_ray(), handlers_kept():
            _start(num_cpus or os.cpu_count() or 1, folder)
        try:
            yield
        finally:
            ray.shutdown()


class RayAddressError(ValueError):
    """No Ray cluster responds at $RAY_ADDRESS."""


def check_address(address: str) -> None:
    """Check that $RAY_ADDRESS accepts connections, because Ray waits for minutes. Raises RayAddressError."""
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if not host or not port.isdigit():  # `auto`, `local`
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except OSError as error:
        raise RayAddressError(f"RAY_ADDRESS={address}: no Ray answers there ({error.strerror or error})") from error


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Keep the process's SIGTERM handler while Ray starts.

    Ray's Python handler raises SystemExit at any point in the program, and that of its C++ part prints a trace.
    """
    import ray._private.utils as of_ray

    install, handler = of_ray.set_sigterm_handler, signal.getsignal(signal.SIGTERM)
    of_ray.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        of_ray.set_sigterm_handler = install
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


@contextmanager
def home_of_ray() -> Iterator[None]:
    """Processes started in the body have `quiet_ray_home` as their HOME."""
    home = os.environ.get("HOME")
    os.environ["HOME"] = str(quiet_ray_home())
    try:
        yield
    finally:
        if home is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = home


def ray_folder() -> Path:
    """A new folder for Ray's sockets, logs and spilled objects: short, whatever TMPDIR is. Raises HomeError."""
    base = os.environ.get(RAY_TMPDIR)
    if base and len(os.fsencode(base)) + len("/codi2-ray-12345678") + RAY_SOCKET > SOCKET_PATH:
        raise HomeError(f"{RAY_TMPDIR}={base}: too long for Ray's sockets ({SOCKET_PATH} characters a path)")
    return socket_folder("codi2-ray-", RAY_SOCKET, [base] if base else [])


class OwnPaths(list[str]):
    """Folders that Ray adds to its workers' `sys.path`, limited to those on this process's own path.

    Ray adds the working directory, whose files (a `yaml.py`, another checkout of this code) would shadow modules.
    """

    def extend(self, folders: Iterable[str]) -> None:
        here = {os.path.abspath(folder) for folder in sys.path}
        super().extend(folder for folder in folders if folder in here)


def _start(num_cpus: int, folder: Path) -> None:
    """Start a local Ray. One retry, because on a busy machine a node may take longer to start than Ray waits."""
    import psutil
    import ray

    config = ray.job_config.JobConfig()
    config._py_driver_sys_path = OwnPaths()
    spill = tempfile.gettempdir()  # it may be the larger disk, even if its path is too long for sockets
    for last in (False, True):
        before = set(psutil.Process().children(recursive=True))
        try:
            ray.init(
                num_cpus=num_cpus,
                job_config=config,
                include_dashboard=False,
                log_to_driver=bool(os.environ.get("CODI2_DEBUG")),
                logging_level=logging.ERROR,
                object_spilling_directory=None if spill == str(folder.parent) else spill,
                _temp_dir=str(folder),
                _node_ip_address="127.0.0.1",
                configure_logging=False,
            )
            return
        except Exception:
            ray.shutdown()
            for left in (
                set(psutil.Process().children(recursive=True)) - before
            ):  # Ray ends them only when this process ends
                with suppress(psutil.Error):
                    left.kill()
            if last:
                raise


class Pending:
    """A cluster that starts when there is work for it."""

    def __init__(self, num_cpus: int) -> None:
        self.num_cpus = num_cpus
        self.stack = ExitStack()
        self.started = False

    def start(self) -> None:
        if not self.started:
            self.stack.enter_context(local_cluster(self.num_cpus))
            self.started = True


_pending: ContextVar[Pending | None] = ContextVar("pending", default=None)


@contextmanager
def cluster_when_needed(num_cpus: int) -> Iterator[None]:
    """As `local_cluster`, but started by the first `ray_map` over more than a few items: a delta build may not need it."""
    pending = Pending(num_cpus)
    token = _pending.set(pending)
    try:
        with pending.stack:
            yield
    finally:
        _pending.reset(token)


def ray_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    few: int = FEW,
    cpus: float = 1.0,
) -> Iterator[tuple[Item, Result]]:
    """Run `function` over items on Ray, at most `2 * workers` in flight. Yields (item, result) as they finish.

    If a worker dies, its item is run again, `RETRIES` times. An exception of the function itself is raised here
    unchanged, once the few items still in flight have ended. Call it inside `local_cluster()`, or inside
    `cluster_when_needed()`: there up to `few` items are run in this process, one after the other, unless Ray has
    already started. `cpus` cores are reserved per item: less than one for items that mostly wait.
    """
    pending = _pending.get()
    if pending is not None and not pending.started:
        source = iter(items)
        first = list(islice(source, few + 1))
        if len(first) <= few:
            for item in first:
                yield item, function(item)
            return
        items = chain(first, source)
        pending.start()
    import ray

    carried = logs_enabled()  # if the run's log is active, the workers' log records are returned with their results
    work: Callable[[Item], Any] = with_worker_logs(function) if carried else function
    remote = ray.remote(num_cpus=cpus, max_retries=RETRIES)(work)
    running: dict[Any, Item] = {}
    source = iter(items)
    try:
        while True:
            while len(running) < 2 * workers and (item := next(source, _END)) is not _END:
                running[remote.remote(item)] = item  # type: ignore[index]
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1)
            item = running.pop(ready[0])
            try:
                done = ray.get(ready[0])
                yield item, replay_logs(done) if carried else done
            except ray.exceptions.RayTaskError as error:
                raise error.cause or error from None
    finally:
        # Not cancelled: in Ray 2.60 a task that finishes while it is being cancelled can abort the whole driver ("Tried
        # to complete task that was not pending"). Items are small, so waiting for the few in flight is short.
        if running and not requested.is_set():
            ray.wait(list(running), num_returns=len(running), timeout=SETTLE_SECONDS)


_END: Any = object()
