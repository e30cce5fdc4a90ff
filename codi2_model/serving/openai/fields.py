"""Fields of a request's JSON: their types and ranges, and `RequestError`, which names the field at fault."""

from __future__ import annotations

import math
from collections.abc import Mapping
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


def number(data: Mapping[str, Any], name: str, default: float, low: float, high: float, whole: bool = False) -> float:
    """A number in a range; `default` if the field is missing. `whole`: it must be an integer (64.0 is one in JSON)."""
    value = data.get(name)
    if value is None:
        return default
    right = isinstance(value, int) or (isinstance(value, float) and (not whole or value.is_integer()))
    finite = not isinstance(value, float) or math.isfinite(value)
    if isinstance(value, bool) or not right or not finite or not low <= value <= high:
        raise RequestError(f"must be {'an integer' if whole else 'a number'} from {low:,} to {high:,}", name)
    return value


def boolean(data: Mapping[str, Any], name: str, param: str | None = None) -> bool:
    value = data.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise RequestError("must be true or false", param or name)
    return value


def mapping(data: Mapping[str, Any], name: str, where: str | None = None) -> Mapping[str, Any]:
    """An object; empty if the field is missing. `where`: name of the field in errors."""
    value = {} if data.get(name) is None else data[name]
    if not isinstance(value, dict):
        raise RequestError("must be an object", where or name)
    return value


def listed(data: Mapping[str, Any], name: str, where: str | None = None) -> list[Any]:
    """A list; empty if the field is missing."""
    value = [] if data.get(name) is None else data[name]
    if not isinstance(value, list):
        raise RequestError("must be a list", where or name)
    return value


def choice(data: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    """One of the known strings; the first if the field is missing."""
    value = known[0] if data.get(name) is None else data[name]
    if not isinstance(value, str) or value not in known:
        raise RequestError(f"{excerpt(repr(value), 40)} is not one of {', '.join(known)}", name)
    return value


def string(value: Any, param: str) -> str:
    """A valid Unicode string. Raises RequestError."""
    if not isinstance(value, str):
        raise RequestError("must be a string", param)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RequestError("contains a lone surrogate, which is not valid Unicode", param) from None
    return value
