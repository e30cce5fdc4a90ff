"""Ports to listen on: checked to be free before anything is started, with an error that names the option to change."""

from __future__ import annotations

import errno
import socket

LOOPBACK = "127.0.0.1"


class PortTaken(OSError):
    """The port cannot be listened on. The message names the option and the remedy."""


def listen(port: int, host: str = LOOPBACK, option: str = "--port") -> socket.socket:
    """A socket bound to the port (0: any free one). Raises PortTaken."""
    if not 0 <= port <= 65535:
        raise PortTaken(f"{option} {port}: a port is 1 to 65535, or 0 for any that is free")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port whose server has just ended counts as free
    try:
        server.bind((host, port))
    except OSError as error:
        server.close()
        why = f"cannot listen on {host}:{port} ({error.strerror or error})"
        if error.errno == errno.EADDRINUSE:
            why = f"{option} {port} is taken: {why}"
        raise PortTaken(f"{why}; choose another port with {option} (0: any that is free)") from None
    return server


def free_port(port: int, host: str = LOOPBACK, option: str = "--port") -> int:
    """The port itself if nobody listens on it; for 0, a free one. Raises PortTaken."""
    with listen(port, host, option) as probe:
        return int(probe.getsockname()[1])
