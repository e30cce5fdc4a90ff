"""Access control: host names, web origins and the bearer token. The outermost layer, before the body is read.

- Host: on loopback only names of this machine are accepted, which prevents DNS rebinding;
- Origin: sent by browsers; pages of other origins are refused unless they are allowed;
- token: compared in constant time; the web page and the health checks need none.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse

from codi2_model.serving.deploy.settings import ServerSettings
from codi2_model.serving.openai.errors import RequestError

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
OPEN = ("/", "/health", "/ready")
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class AccessMiddleware:
    """ASGI middleware that passes a request on, or answers with an error."""

    def __init__(self, app: App, settings: ServerSettings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        refusal = self.refusal(scope)
        if refusal is None:
            await self.app(scope, receive, send_with_headers)
            return
        headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
        await JSONResponse(refusal.to_json(), refusal.status, headers)(scope, receive, send_with_headers)

    def refusal(self, scope: Scope) -> RequestError | None:
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        host = headers.get(b"host", [])
        if len(host) > 1 or (self.settings.hosts and not self._known_host(host)):
            message = "this server does not accept this host name; --allow-host adds one"
            return RequestError(message, code="unknown_host", status=421)
        origin = headers.get(b"origin", [])
        if origin and not all(self._known_origin(one, host) for one in origin):
            message = "pages of this origin may not call this server; --allow-origin adds one"
            return RequestError(message, code="forbidden_origin", status=403)
        if self._needs_token(scope["path"]) and not self._has_token(headers.get(b"authorization", [])):
            message = "the bearer token is missing or wrong: send it in the header Authorization"
            return RequestError(message, code="invalid_api_key", status=401)
        return None

    def _known_host(self, host: list[bytes]) -> bool:
        try:
            name = urlsplit(f"//{host[0].decode('ascii')}").hostname if host else None
        except ValueError:  # also for non-ASCII characters
            return False
        return name in self.settings.hosts

    def _known_origin(self, origin: bytes, host: list[bytes]) -> bool:
        text = origin.decode("latin-1")
        if text in self.settings.origins:
            return True
        return bool(host) and text.partition("://")[2] == host[0].decode("latin-1")

    def _needs_token(self, path: str) -> bool:
        return self.settings.token is not None and path not in OPEN and not path.startswith("/page/")

    def _has_token(self, authorization: list[bytes]) -> bool:
        if len(authorization) != 1:
            return False
        scheme, _, token = authorization[0].partition(b" ")
        expected = (self.settings.token or "").encode()
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), expected)
