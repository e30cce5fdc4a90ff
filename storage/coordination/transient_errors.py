"""Which errors pass by themselves, so that the same call may succeed in a while: of networks, throttling, lost workers.

Mistakes, missing files, a full disk and missing permission do not pass: they are never tried again.
"""

from __future__ import annotations

import asyncio
import errno
import http.client
import socket
import ssl
from collections.abc import Iterator

PASSING_NUMBERS = frozenset(
    {
        errno.ECONNRESET, errno.ECONNABORTED, errno.ECONNREFUSED, errno.EPIPE, errno.ETIMEDOUT, errno.ENETDOWN,
        errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.EAGAIN, errno.EBUSY, errno.ESTALE,
    }
)  # fmt: skip
LASTING_NUMBERS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EEXIST}
)
PASSING_TYPES: tuple[type[BaseException], ...] = (
    ConnectionError, TimeoutError, asyncio.TimeoutError, socket.gaierror, http.client.IncompleteRead,
    http.client.RemoteDisconnected,
)  # fmt: skip

# of packages that this floor does not import, by the name of the type or of one it descends from
PASSING_NAMES = frozenset(
    {
        # botocore, aiohttp, urllib3, requests, httpx
        "EndpointConnectionError", "ConnectionClosedError", "ConnectTimeoutError", "ReadTimeoutError", "HTTPClientError",
        "ClientConnectionError", "ClientPayloadError", "ServerTimeoutError", "ProtocolError", "TransportError",
        "ChunkedEncodingError",
        # Ray: a worker, an actor or a node is lost, or an object with it
        "WorkerCrashedError", "ActorDiedError", "ActorUnavailableError", "RayActorError", "NodeDiedError", "ObjectLostError",
        "ObjectFetchTimedOutError", "OwnerDiedError", "LocalRayletDiedError", "RaySystemError", "OutOfMemoryError",
        "RpcError", "GetTimeoutError", "WorkerGroupStartupTimeoutError",
    }
)  # fmt: skip
PASSING_CODES = frozenset(
    {
        "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "RequestTimeout",
        "RequestTimeTooSkewed", "InternalError", "ServiceUnavailable", "503", "500", "502", "504", "429",
    }
)  # fmt: skip


def is_transient(error: BaseException | None) -> bool:
    """Whether the same call may succeed in a while. The first verdict along the causes counts."""
    return next((told for one in causes(error) if (told := verdict(one)) is not None), False)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it came from, what that came from; each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        cause = getattr(error, "cause", None)  # as Ray keeps what a worker raised
        error = error.__cause__ or (cause if isinstance(cause, BaseException) else None) or error.__context__


def verdict(error: BaseException) -> bool | None:
    """True: it passes; False: it does not; None: its causes must say."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return False
    if (status := status_of(error)) is not None:
        return status in PASSING_CODES
    if isinstance(error, OSError) and error.errno in LASTING_NUMBERS:
        return False
    if isinstance(error, PASSING_TYPES) or {kind.__name__ for kind in type(error).__mro__} & PASSING_NAMES:
        return True
    if isinstance(error, OSError) and error.errno in PASSING_NUMBERS:
        return True
    if isinstance(error, ValueError | TypeError | LookupError | ArithmeticError | AssertionError | ImportError):
        return False
    return None


def status_of(error: BaseException) -> str | None:
    """The code that a service answered with, where the error carries one: 'SlowDown', '503'."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        code = response.get("Error", {}).get("Code") or response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return str(code) if code else None
    status = getattr(response, "status_code", None) or getattr(error, "status", None)
    return str(status) if isinstance(status, int) and status >= 400 else None
