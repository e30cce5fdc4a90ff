"""A running server and its URL. Does not import Ray."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self


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
