"""The HTTP side as a FastAPI app over any backend: no Ray, no model. `app.py` puts it on Ray Serve.

Errors have OpenAI's shape and name the field at fault; what goes wrong inside is logged, the client is told no paths.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncIterator
from importlib import resources
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from codi2_model.serving.media import Limits
from codi2_model.serving.protocol import ChatRequest, Reply, RequestError, completion, parse_request, sse, stream_chunks

log = logging.getLogger(__name__)
# The page needs nothing from elsewhere, and must not be made to ask for it.
PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; media-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Backend(Protocol):
    """What answers. `complete` raises RequestError for what the client can mend, anything else is an internal error."""

    model_id: str

    async def complete(self, request: ChatRequest) -> Reply: ...


def build_api(backend: Backend, limits: Limits | None = None) -> FastAPI:
    """The app: /v1/chat/completions, /v1/models, /health and the page at /."""
    caps = limits or Limits()
    api = FastAPI(title="CoDi-2", docs_url=None, redoc_url=None, openapi_url=None)
    started = int(time.time())

    @api.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> JSONResponse:
        return JSONResponse(error.to_json(), error.status)

    @api.exception_handler(HTTPException)
    async def unknown_route(_: Request, error: HTTPException) -> JSONResponse:
        shown = RequestError(str(error.detail), code="not_found", status=error.status_code)
        return JSONResponse(shown.to_json(), error.status_code, headers=error.headers)

    @api.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "model": backend.model_id}

    @api.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(backend.model_id, started)]}

    @api.get("/v1/models/{model_id}")
    async def model(model_id: str) -> dict[str, Any]:
        if model_id != backend.model_id:
            raise RequestError(f"no model {model_id!r} here", "model", "model_not_found", 404)
        return _model(model_id, started)

    @api.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await _read(request, caps.body_bytes)
        asked = await run_in_threadpool(parse_request, body, backend.model_id, caps)
        try:
            reply = await backend.complete(asked)
        except RequestError:
            raise
        except Exception:
            reference = uuid.uuid4().hex[:12]
            log.exception("request %s failed", reference)
            message = f"the model failed on this request; the server's log has it as {reference}"
            raise RequestError(message, code="internal_error", status=500) from None
        request_id, created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
        if asked.stream:
            events = _events(asked, reply, backend.model_id, request_id, created)
            return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        return JSONResponse(await run_in_threadpool(completion, reply, backend.model_id, request_id, created))

    @api.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(page_html(), headers={"Content-Security-Policy": PAGE_POLICY})

    return api


def page_html() -> str:
    """The page, one file without a build step."""
    return resources.files("codi2_model.serving").joinpath("page", "index.html").read_text("utf-8")


def _model(model_id: str, created: int) -> dict[str, Any]:
    return {"id": model_id, "object": "model", "created": created, "owned_by": "codi2-open"}


async def _read(request: Request, cap: int) -> bytes:
    """The body, refused as soon as it is larger than the cap, whatever its declared length."""
    too_large = RequestError(f"the request is larger than {cap / 1024 / 1024:g} MiB", code="too_large", status=413)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > cap:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > cap:
            raise too_large
    return bytes(body)


async def _events(asked: ChatRequest, reply: Reply, model_id: str, request_id: str, created: int) -> AsyncIterator[str]:
    for chunk in stream_chunks(reply, model_id, request_id, created, asked.include_usage):
        yield sse(chunk)
    yield sse(None)
