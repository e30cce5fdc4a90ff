"""What Ray's HTTP proxy answers when the ingress that held a request is gone.

The model's replicas are watched by the ingress, which says 503 or ends a stream with a reason. Nobody watches the ingress but
the proxy, and that one sends a bare 500, or cuts a stream off. This stands around it and gives the reason in its place.

`serve` puts it there; on a cluster the variable does, in the environment of Ray's nodes:
RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=codi2_model.serving.deploy.ingress_failure:middlewares
"""

from __future__ import annotations

import json
from typing import Any

from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MESSAGE = "the part of the server that held this request was lost: send it again"
# as `protocol.RequestError` tells it, which would bring the model into the proxy's process
ERROR = json.dumps({"error": {"message": MESSAGE, "type": "server_error", "param": None, "code": "unavailable"}})


class IngressFailureMiddleware:
    """ASGI middleware: an answer that never began is 503 with Retry-After; an event stream that was cut off gets an end.
    An answer of another kind that was cut off stays so: its length was promised."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seen = Seen()

        async def watched(message: Message) -> None:
            seen.take(message)
            await send(message)

        await self.app(scope, receive, watched)
        if not seen.begun:
            answer = Response(ERROR, 503, {"Retry-After": "2"}, "application/json")
            await answer(scope, receive, send)
        elif seen.events and not seen.ended:
            end = f"data: {ERROR}\n\ndata: [DONE]\n\n".encode()
            await send({"type": "http.response.body", "body": end, "more_body": False})


class Seen:
    """How far an answer came."""

    def __init__(self) -> None:
        self.begun = self.events = self.ended = False

    def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = {bytes(name).lower(): bytes(value) for name, value in message.get("headers", [])}
            self.events = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.ended = True


def middlewares() -> list[Any]:
    """As Ray Serve's proxy asks for them."""
    return [Middleware(IngressFailureMiddleware)]
