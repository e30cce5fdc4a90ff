"""A temporary Prefect server for the flow of a command, where no server is configured.

It starts beside the command's imports and ends with the command, even if that is killed. It runs in a session of its own,
so that Ctrl-C does not reach it and the end of the run can still be recorded.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from contextlib import ExitStack

from codi2_storage.host import child_processes
from codi2_storage.host.ports import LOOPBACK, listen
from codi2_storage.host.shutdown import requested

END_SECONDS, HURRIED_END_SECONDS = 5.0, 1.0  # for the server to end; the second after Ctrl-C or SIGTERM
START_SECONDS = 120.0  # its first start creates a database
# as Prefect starts its own: no pages, no schedules
ENVIRONMENT = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
_scope = ExitStack()
_url: str | None = None  # of the server of this process


def start_server() -> None:
    """Start the server that a flow of this process will need, unless one is configured; do not wait for it.

    It inherits a socket that already listens, so what the flow sends waits there until the server accepts it. It starts
    before Prefect is imported, which takes a fifth of a command with nothing to do. Prefect then says whether a server is
    configured; if so, this one ends again.
    """
    global _url
    if _url or os.environ.get("PREFECT_API_URL"):
        return
    command = [sys.executable, "-m", "uvicorn", "--app-dir", sys.prefix, "--factory",
               "prefect.server.api.server:create_app", "--log-level", "error", "--lifespan", "on"]  # fmt: skip
    with listen(0) as socket:
        socket.listen()
        url = f"http://{LOOPBACK}:{socket.getsockname()[1]}/api"
        process = child_processes.start(
            [*command, "--fd", str(socket.fileno())],
            env=os.environ | child_processes.OWN_CODE | ENVIRONMENT, stdin=subprocess.DEVNULL, pass_fds=[socket.fileno()],
        )  # fmt: skip
    child_processes.end_after_us(process)
    atexit.register(lambda: child_processes.end(process, HURRIED_END_SECONDS if requested.is_set() else END_SECONDS))

    from prefect.settings import (
        PREFECT_API_REQUEST_TIMEOUT,
        PREFECT_API_URL,
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
        temporary_settings,
    )

    if PREFECT_API_URL.value() or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        child_processes.end(process, HURRIED_END_SECONDS)
        return
    _scope.enter_context(temporary_settings({PREFECT_API_URL: url, PREFECT_API_REQUEST_TIMEOUT: START_SECONDS}))
    _url = url


def server_configured() -> bool:
    """Whether flows are run by a lasting server, which shows artifacts and reacts to events."""
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value() not in (None, "", _url)
