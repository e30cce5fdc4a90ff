"""Ports to listen on: proven free before anything is started, with an error that says what to do where one is taken."""

from __future__ import annotations

import errno
import socket

LOOPBACK = "127.0.0.1"


class PortTaken(OSError):
    """Nobody can listen on that port now; the message names the option and says what to do."""


def listen(port: int, host: str = LOOPBACK, option: str = "--port") -> socket.socket:
    """A socket bound to the port (0: any free one). Raises PortTaken."""
    if not 0 <= port <= 65535:
        raise PortTaken(f"{option} {port}: a port is 1 to 65535, or 0 for any that is free")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one whose server has just ended is free
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        why = f"cannot listen on {host}:{port} ({error.strerror or error})"
        if error.errno == errno.EADDRINUSE:
            why = f"{option} {port} is taken: {why}"
        raise PortTaken(f"{why}; choose another port with {option} (0: any that is free)") from None
    return found


def free_port(port: int, host: str = LOOPBACK, option: str = "--port") -> int:
    """The port itself where nobody listens on it; 0: one that is free. Raises PortTaken."""
    with listen(port, host, option) as probe:
        return int(probe.getsockname()[1])
