"""What passes by itself is tried again; mistakes, a full disk and missing permission are not."""

from __future__ import annotations

import errno

import pytest

from codi2_storage.coordination.transient_errors import is_transient
from codi2_storage.store import explained


def wrapped(error: BaseException) -> BaseException:
    """As s3fs and our store raise what botocore raised."""
    try:
        try:
            raise error
        except BaseException as inner:
            raise OSError(5, "Input/output error") from inner
    except OSError as outer:
        return outer


class ClientError(Exception):
    """Shaped as botocore's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


class EndpointConnectionError(Exception):
    """Named as botocore's."""


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(), TimeoutError(), OSError(errno.ENETDOWN, "down"), BrokenPipeError(),
        ClientError("SlowDown"), ClientError("503"), wrapped(ClientError("InternalError")), wrapped(EndpointConnectionError()),
        explained(OSError(errno.ETIMEDOUT, "timed out"), "/x"),
    ],
    ids=repr,
)  # fmt: skip
def test_these_pass(error: BaseException) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"), KeyError("no"), FileNotFoundError(2, "no"), OSError(errno.ENOSPC, "full"), PermissionError(13, "no"),
        explained(OSError(errno.ENOSPC, "full"), "/x"), ClientError("AccessDenied"), ClientError("NoSuchKey"),
        wrapped(ClientError("AccessDenied")), MemoryError(), KeyboardInterrupt(), RuntimeError("something"), None,
    ],
    ids=repr,
)  # fmt: skip
def test_these_last(error: BaseException | None) -> None:
    assert not is_transient(error)


def test_what_ray_raises_for_lost_workers_and_nodes_passes_and_what_a_task_raised_is_judged_itself() -> None:
    ray = pytest.importorskip("ray")
    lost = (ray.exceptions.WorkerCrashedError(), ray.exceptions.ActorDiedError(), ray.exceptions.NodeDiedError("gone"))
    assert all(is_transient(error) for error in lost)
    assert not is_transient(ray.exceptions.RayTaskError("f", "trace", ValueError("no")))
    assert is_transient(ray.exceptions.RayTaskError("f", "trace", ConnectionResetError()))
