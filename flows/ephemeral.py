"""Prefect's temporary server: it starts beside a command's imports, and ends with the process that started it, even a killed one.

Prefect stops it at exit, which kill -9 leaves no time for: a server would stay behind for good. A shell waits for the
process to be gone and ends the server then.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import wrapt

WAIT = 'while kill -0 "$0" 2>/dev/null; do sleep 1; done; kill "$1" 2>/dev/null'
EPHEMERAL = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


@dataclass(frozen=True)
class Early:
    """A server that nobody has asked for yet."""

    port: int
    process: subprocess.Popen[Any]


_early: list[Early] = []


def end_with_us() -> None:
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
    spec = importlib.util.find_spec("prefect")
    assert spec is not None and spec.origin is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(spec.origin).parent), "--factory",
               "prefect.server.api.server:create_app", "--host", "127.0.0.1", "--port", str(port),
               "--log-level", "error", "--lifespan", "on"]  # fmt: skip
    process = subprocess.Popen(command, env=os.environ | EPHEMERAL)
    _end_after_us(process)
    _early.append(Early(port, process))


def _watch_servers(module: ModuleType) -> None:
    wrapt.wrap_function_wrapper(module, "SubprocessASGIServer._run_uvicorn_command", _started)


def _started(start: Any, instance: Any, args: Any, kwargs: Any) -> subprocess.Popen[Any]:
    """Prefect asks for the process of its server: the early one, if it lives."""
    while _early:
        early = _early.pop()
        if early.process.poll() is None:
            instance.port = early.port
            return early.process
    server: subprocess.Popen[Any] = start(*args, **kwargs)
    _end_after_us(server)
    return server


def _end_after_us(server: subprocess.Popen[Any]) -> None:
    command = ["/bin/sh", "-c", WAIT, str(os.getpid()), str(server.pid)]
    quiet = subprocess.DEVNULL
    subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
