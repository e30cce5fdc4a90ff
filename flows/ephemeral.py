"""Prefect's temporary server ends with the process that started it, even one that is killed and cannot end it.

Prefect stops it at exit, which kill -9 leaves no time for: a server would stay behind for good. A shell waits for the
process to be gone and ends the server then.
"""

from __future__ import annotations

import os
import subprocess
from types import ModuleType
from typing import Any

import wrapt

WAIT = 'while kill -0 "$0" 2>/dev/null; do sleep 1; done; kill "$1" 2>/dev/null'


def end_with_us() -> None:
    """Arrange it for servers that this process starts from now on. Prefect need not be imported yet, and is not here."""
    wrapt.register_post_import_hook(_watch_servers, "prefect.server.api.server")


def _watch_servers(module: ModuleType) -> None:
    wrapt.wrap_function_wrapper(module, "SubprocessASGIServer._run_uvicorn_command", _watched)


def _watched(start: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    server = start(*args, **kwargs)
    command = ["/bin/sh", "-c", WAIT, str(os.getpid()), str(server.pid)]
    quiet = subprocess.DEVNULL
    subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    return server
