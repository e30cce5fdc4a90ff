"""Middleware of Ray's HTTP proxy for requests whose ingress replica was lost.

If a replica of the model is lost, the ingress answers 503 or ends the stream with an error. If the ingress itself is lost,
Ray's proxy would send a bare 500 or cut off the stream; this middleware sends the error instead.

`serve` installs it. On a cluster, set this variable in the environment of Ray's nodes:
RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=codi2_model.serving.deploy.ingress_failure:middlewares
"""

from __future__ import annotations

import json
from typing import Any

from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MESSAGE = "the part of the server with this request was lost: send the request again"
# the format of `protocol.RequestError`, whose import would load the model's code in the proxy's process
ERROR = json.dumps({"error": {"message": MESSAGE, "type": "server_error", "param": None, "code": "unavailable"}})


class IngressFailureMiddleware:
    """ASGI middleware for lost responses.

    A response that did not start becomes 503 with Retry-After. An event stream that was cut off gets an error and an end.
    Other responses that were cut off stay so, because their length was sent already.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = ResponseState()

        async def observed_send(message: Message) -> None:
            state.update(message)
            await send(message)

        await self.app(scope, receive, observed_send)
        if not state.begun:
            response = Response(ERROR, 503, {"Retry-After": "2"}, "application/json")
            await response(scope, receive, send)
        elif state.events and not state.ended:
            end = f"data: {ERROR}\n\ndata: [DONE]\n\n".encode()
            await send({"type": "http.response.body", "body": end, "more_body": False})


class ResponseState:
    """Whether a response has begun and ended, and whether it is an event stream."""

    def __init__(self) -> None:
        self.begun = self.events = self.ended = False

    def update(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = {bytes(name).lower(): bytes(value) for name, value in message.get("headers", [])}
            self.events = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.ended = True


def middlewares() -> list[Any]:
    """The callback that Ray Serve's proxy calls."""
    return [Middleware(IngressFailureMiddleware)]
