"""What a server needs of its machine: a free port, and signals that end it in good order. Knows no Ray."""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self


class PortTaken(OSError):
    """Another program listens on the port; the message says what to do."""


class Server:
    """A running server. `stop` (or leaving the `with` block) ends the application and the cluster it started."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.url = url
        self.stack = stack

    def stop(self) -> None:
        self.stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def url_host(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)


def free_port(host: str, port: int) -> int:
    """The port, proven free (0: any free one). Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"cannot listen on {host}:{port} ({error.strerror}): choose another port with --port"
            ) from None
        return int(probe.getsockname()[1])


class Signals:
    """SIGTERM and SIGINT end the server in good order: while it starts by unwinding, later by ending the wait."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._armed = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._install()
        return self

    def _install(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before.setdefault(number, signal.signal(number, self._handle))

    def arm(self) -> None:
        """From now on signals end `wait`. Ray installs a handler of its own when it starts; this takes its place."""
        self._install()
        self._armed = True

    def wait(self) -> None:
        while not self._event.wait(timeout=0.5):
            pass

    def _handle(self, number: int, _: object) -> None:
        self._event.set()
        if not self._armed:
            raise SystemExit(128 + number)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
