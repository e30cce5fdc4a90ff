"""Classifies errors as transient (worth a retry) or permanent: network errors, throttling, lost workers are transient.

Programming errors, missing files, a full disk and missing permissions are permanent and never retried.
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

# types of packages that this package does not import, by the name of the type or of one of its base classes
PASSING_NAMES = frozenset(
    {
        # botocore, aiohttp, urllib3, requests, httpx
        "EndpointConnectionError", "ConnectionClosedError", "ConnectTimeoutError", "ReadTimeoutError", "HTTPClientError",
        "ClientConnectionError", "ClientPayloadError", "ServerTimeoutError", "ProtocolError", "TransportError",
        "ChunkedEncodingError",
        # Ray: a worker, actor or node was lost, or an object with it
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
    """Whether a retry may succeed. The first error in the chain of causes that can be classified decides."""
    return next((transient for one in causes(error) if (transient := verdict(one)) is not None), False)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its cause, the cause of that, and so on; each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        cause = getattr(error, "cause", None)  # Ray keeps here what a worker raised
        error = error.__cause__ or (cause if isinstance(cause, BaseException) else None) or error.__context__


def verdict(error: BaseException) -> bool | None:
    """True: transient; False: permanent; None: its causes decide."""
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
    """The code that a service responded with, if the error carries one: 'SlowDown', '503'."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        code = response.get("Error", {}).get("Code") or response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return str(code) if code else None
    status = getattr(response, "status_code", None) or getattr(error, "status", None)
    return str(status) if isinstance(status, int) and status >= 400 else None
