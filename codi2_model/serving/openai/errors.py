"""`RequestError`, the error that a client gets: with the HTTP status and the name of the field at fault."""

from __future__ import annotations

from typing import Any


class RequestError(ValueError):
    """An error that is sent to the client, with the HTTP status and the field at fault (`param`).

    The response has the name of the field before the message, so that messages need not repeat it.
    """

    def __init__(
        self,
        message: str,
        param: str | None = None,
        code: str = "invalid_value",
        status: int = 400,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.param, self.code, self.status, self.retry_after = param, code, status, retry_after

    def __reduce__(self) -> tuple[Any, ...]:  # for pickle
        return (RequestError, (str(self), self.param, self.code, self.status, self.retry_after))

    def to_json(self) -> dict[str, Any]:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(self.status, kind)
        param = None if self.param is None else excerpt(self.param)
        message = str(self) if self.param is None else f"{self.param}: {self}"
        return {"error": {"message": excerpt(message, 1000), "type": kind, "param": param, "code": self.code}}


def excerpt(text: str, most: int = 120) -> str:
    """A client's text for an error message: shortened, with lone surrogates escaped."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.encode("utf-8", "backslashreplace").decode()
