"""Prefect's temporary server: started in parallel with a command's imports, and ended with the command even if that is killed.

The server runs in a session of its own, so that Ctrl-C does not reach it and the end of the run can still be recorded.
Prefect stops it at exit, which does not happen after kill -9; therefore a watcher process ends the server once the command
is gone.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import wrapt

from codi2_storage.host import child_processes
from codi2_storage.host.shutdown import requested

LAST_SECONDS = 1.0  # for the server to end after Ctrl-C or SIGTERM
EPHEMERAL = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


@dataclass(frozen=True)
class EarlyServer:
    """A server that was started before a flow needs it."""

    port: int
    process: subprocess.Popen[Any]


_early: list[EarlyServer] = []


def end_servers_at_exit() -> None:
    """End servers that Prefect starts from now on together with this process. Does not import Prefect."""
    wrapt.register_post_import_hook(_watch_servers, "prefect.server.api.server")


def start_early() -> None:
    """Start the temporary server that a flow of this process will need, unless a server is configured; do not wait for it.

    It starts while this process imports torch, Ray and the rest of Prefect. If it fails, Prefect starts another one.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE

    if _early or PREFECT_API_URL.value() or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    _early.append(EarlyServer(port, _serve(port, {})))
    atexit.register(_end_unused)


def _serve(port: int, settings: Mapping[str, str]) -> subprocess.Popen[Any]:
    """Start a server on the port, with the command that Prefect uses."""
    spec = importlib.util.find_spec("prefect")
    assert spec is not None and spec.origin is not None
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(spec.origin).parent), "--factory",
               "prefect.server.api.server:create_app", "--host", "127.0.0.1", "--port", str(port),
               "--log-level", "error", "--lifespan", "on"]  # fmt: skip
    process = child_processes.start(
        command, env=os.environ | child_processes.OWN_CODE | EPHEMERAL | dict(settings), stdin=subprocess.DEVNULL
    )
    child_processes.end_after_us(process)
    return process


def _watch_servers(module: ModuleType) -> None:
    wrapt.wrap_function_wrapper(module, "SubprocessASGIServer._run_uvicorn_command", _server_process)
    wrapt.wrap_function_wrapper(module, "SubprocessASGIServer.stop", _stop_server)


def _server_process(start: Any, instance: Any, args: Any, kwargs: Any) -> subprocess.Popen[Any]:
    """Wrapper of Prefect's start of its server: the early one if it is running, else a new one."""
    from prefect.settings.context import get_current_settings

    while _early:
        early = _early.pop()
        if early.process.poll() is None:
            instance.port = early.port
            return early.process
    return _serve(instance.port, get_current_settings().to_environment_variables(exclude_unset=True))


def _stop_server(stop: Any, instance: Any, args: Any, kwargs: Any) -> None:
    """Wrapper of Prefect's stop of its server, which waits five seconds: after Ctrl-C it waits one."""
    if requested.is_set() and instance.server_process is not None:
        child_processes.end(instance.server_process, LAST_SECONDS)
    stop(*args, **kwargs)


def _end_unused() -> None:
    """Kill a server that no flow used, for example after an error or Ctrl-C."""
    for early in _early:
        early.process.kill()
        early.process.wait()
