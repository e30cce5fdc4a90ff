"""Prefect's temporary server: it starts beside a command's imports, and ends with the process that started it, even a killed one.

It runs in a session of its own: Ctrl-C reaches us alone, and the server still hears how the run ended. Prefect stops it at
exit, which kill -9 leaves no time for: a server would stay behind for good. A shell waits for the process to be gone and
ends the server then.
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

LAST_SECONDS = 1.0  # that the server has to end, after Ctrl-C or SIGTERM
EPHEMERAL = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


@dataclass(frozen=True)
class Early:
    """A server that nobody has asked for yet."""

    port: int
    process: subprocess.Popen[Any]


_early: list[Early] = []


def end_servers_at_exit() -> None:
    """Arrange it for servers that this process starts from now on. Prefect need not be imported yet, and is not here."""
    wrapt.register_post_import_hook(_watch_servers, "prefect.server.api.server")


def start_early() -> None:
    """Start the server that a flow of this process will ask for, where no other is set, and do not wait for it.

    Its seconds then pass while this process imports torch, Ray and the rest of Prefect. A server that does not come up is
    Prefect's to start again.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE

    if _early or PREFECT_API_URL.value() or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    _early.append(Early(port, _serve(port, {})))
    atexit.register(_end_unused)


def _serve(port: int, settings: Mapping[str, str]) -> subprocess.Popen[Any]:
    """A server on the port, as Prefect starts it."""
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
    wrapt.wrap_function_wrapper(module, "SubprocessASGIServer._run_uvicorn_command", _started)
    wrapt.wrap_function_wrapper(module, "SubprocessASGIServer.stop", _stopped)


def _started(start: Any, instance: Any, args: Any, kwargs: Any) -> subprocess.Popen[Any]:
    """Prefect asks for the process of its server: the early one, if it lives."""
    from prefect.settings.context import get_current_settings

    while _early:
        early = _early.pop()
        if early.process.poll() is None:
            instance.port = early.port
            return early.process
    return _serve(instance.port, get_current_settings().to_environment_variables(exclude_unset=True))


def _stopped(stop: Any, instance: Any, args: Any, kwargs: Any) -> None:
    """Prefect waits five seconds for its server to end; after Ctrl-C there is one."""
    if requested.is_set() and instance.server_process is not None:
        child_processes.end(instance.server_process, LAST_SECONDS)
    stop(*args, **kwargs)


def _end_unused() -> None:
    """A server that no flow asked for: a mistake was found first, or someone pressed Ctrl-C."""
    for early in _early:
        early.process.kill()
        early.process.wait()
