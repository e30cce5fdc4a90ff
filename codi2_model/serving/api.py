"""The HTTP side as a FastAPI app over any backend: no Ray, no model. `app.py` puts it on Ray Serve.

Errors have OpenAI's shape and name the field at fault; what goes wrong inside is logged, the client is told no paths.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from importlib import resources
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from prometheus_client import Metric
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from codi2_model.serving import described, schema
from codi2_model.serving.access import Gate
from codi2_model.serving.answers import Answers, respond
from codi2_model.serving.images import MOST, ROUTES, generation_json, parse_generation
from codi2_model.serving.metrics import CONTENT_TYPE, Metrics, text
from codi2_model.serving.pipeline import Backend
from codi2_model.serving.protocol import RequestError, parse_object, parse_request
from codi2_model.serving.remote import Remote
from codi2_model.serving.settings import ServerSettings

log = logging.getLogger(__name__)
# The page needs nothing from elsewhere, and must not be made to ask for it.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_TYPES = {
    "js": "text/javascript", "css": "text/css", "json": "application/json", "md": "text/markdown", "webp": "image/webp",
    "flac": "audio/flac", "mp4": "video/mp4",
}  # fmt: skip
BODY_SECONDS = 60.0  # how long a client may take to send what it asks


class Counts(Protocol):
    """What this side counts, and what all sides have counted, by their names."""

    metrics: Metrics

    async def families(self) -> dict[str, list[Metric]]: ...


class OwnCounts:
    """Of a server that is the only one."""

    def __init__(self) -> None:
        self.metrics = Metrics()

    async def families(self) -> dict[str, list[Metric]]:
        return {"": self.metrics.families()}


def build_api(
    backend: Backend,
    settings: ServerSettings | None = None,
    side: Callable[[], int | None] = lambda: None,
    counts: Counts | None = None,
) -> FastAPI:
    """The app. `side` tells the pixels of the pictures that the model makes, for those who ask for a size."""
    chosen = settings or ServerSettings()
    api = FastAPI(title="CoDi-2", version="1", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    counts = counts or OwnCounts()
    answers = Answers(backend, counts.metrics)
    _add_errors(api)
    _add_plain(api, backend, counts)
    _add_chat(api, backend, chosen, answers)
    _add_generations(api, backend, chosen, answers, side)
    _add_page(api)
    described.describe(api)
    api.add_middleware(Gate, settings=chosen)
    if chosen.origins:
        verbs, headers = ["GET", "POST"], ["authorization", "content-type"]
        api.add_middleware(
            CORSMiddleware, allow_origins=list(chosen.origins), allow_methods=verbs, allow_headers=headers
        )
    return api


def _add_errors(api: FastAPI) -> None:
    @api.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> JSONResponse:
        return respond(error)

    @api.exception_handler(HTTPException)
    async def unknown_route(_: Request, error: HTTPException) -> JSONResponse:
        shown = RequestError(str(error.detail), code="not_found", status=error.status_code)
        return JSONResponse(shown.to_json(), error.status_code, headers=error.headers)

    @api.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return respond(RequestError("the address is not a valid one", status=404, code="not_found"))


def _add_plain(api: FastAPI, backend: Backend, counts: Counts) -> None:
    started = int(time.time())

    @api.get("/health", summary="Whether the server runs.", responses=described.answers(described.HEALTH))
    async def health() -> dict[str, str]:
        return {"status": "ok", "model": backend.model_id}

    not_ready: dict[int | str, dict[str, Any]] = {
        503: {"description": "It shuts down.", "content": {"application/json": {"schema": described.READY}}}
    }

    @api.get(
        "/ready",
        summary="Whether the server takes on requests; 503 while it shuts down.",
        responses=described.answers(described.READY) | not_ready,
    )
    async def ready() -> Response:
        good = await backend.ready()
        return JSONResponse({"ready": good}, 200 if good else 503)

    @api.get("/metrics", summary="Counters in Prometheus' text format.", response_class=PlainTextResponse)
    async def read_metrics() -> Response:
        return Response(text(await counts.families(), await backend.stats()), media_type=CONTENT_TYPE)

    @api.get("/v1/models", summary="The models: one.", responses=described.answers(described.MODELS))
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(backend, started)]}

    @api.get("/v1/models/{model_id}", summary="A model.", responses=described.answers(described.MODEL))
    async def model(model_id: str) -> dict[str, Any]:
        if model_id != backend.model_id and model_id not in backend.before:
            raise RequestError(f"no model {model_id[:80]!r} here", "model", "model_not_found", 404)
        return _model(backend, started)


def _model(backend: Backend, created: int) -> dict[str, Any]:
    modalities = ["text", *backend.modalities]
    about = {"id": backend.model_id, "object": "model", "created": created, "owned_by": "codi2-open"}
    return {**about, "input_modalities": modalities, "output_modalities": modalities}


def _add_chat(api: FastAPI, backend: Backend, settings: ServerSettings, answers: Answers) -> None:
    limits = settings.limits
    fetch = Remote(settings.remote_hosts) if settings.remote_hosts else None

    @api.post(
        "/v1/chat/completions",
        summary="The reply to a conversation of text, pictures, sounds and clips; whole, or as server-sent events.",
        openapi_extra=schema.body(schema.chat(limits)),
        responses=described.answers(described.COMPLETION, described.GATE | described.ASKING, stream=True),
    )
    async def chat(request: Request) -> Response:
        async with answers.measured("chat") as measure:
            body = await read_body(request, limits.body_bytes)
            about = backend.model_id, limits, backend.modalities, fetch, backend.before
            asked = await answers.parsed(parse_request, body, *about)
            return await answers.chat(request, asked, measure)


def _add_generations(
    api: FastAPI, backend: Backend, settings: ServerSettings, answers: Answers, side: Callable[[], int | None]
) -> None:
    limits = settings.limits

    def add(route: str, modality: str) -> None:
        @api.post(
            f"/v1/{route}/generations",
            summary=f"Media of kind {modality} for a prompt.",
            openapi_extra=schema.body(schema.generation(limits, MOST)),
            responses=described.answers(described.GENERATED, described.GATE | described.ASKING),
            name=f"{route}_generations",
        )
        async def generations(request: Request) -> Response:
            async with answers.measured(route):
                data = parse_object(await read_body(request, limits.body_bytes))
                asked = parse_generation(
                    data, modality, backend.model_id, limits, backend.modalities, side(), backend.before
                )
                replies = await answers.until_gone(request, asyncio.gather(*map(answers.whole, asked)))
                as_url = data.get("response_format") == "url"
                return JSONResponse(await answers.parsed(generation_json, replies, modality, int(time.time()), as_url))

    for route, modality in ROUTES.items():
        add(route, modality)


def _add_page(api: FastAPI) -> None:
    @api.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(page_file("index.html"), headers={"Content-Security-Policy": PAGE_POLICY})

    @api.get("/page/{name:path}", include_in_schema=False)
    async def file(name: str) -> Response:
        kind = PAGE_TYPES.get(name.rpartition(".")[2])
        if kind is None or name not in page_files():
            raise HTTPException(404, "Not Found")
        headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"}
        return Response(page_file(name), media_type=kind, headers=headers)


def page_files() -> set[str]:
    """Names of the page's files, and of its examples: nothing else is given out."""
    page = resources.files("codi2_model.serving").joinpath("page")
    examples = (f"examples/{entry.name}" for entry in page.joinpath("examples").iterdir())
    return {*(entry.name for entry in page.iterdir()), *examples}


def page_file(name: str) -> bytes:
    """A file of the page, which needs no build step."""
    return resources.files("codi2_model.serving").joinpath("page", *name.split("/")).read_bytes()


async def read_body(request: Request, cap: int) -> bytes:
    """The body, refused as soon as it is larger than the cap, whatever its declared length, or too slow to come."""
    too_large = RequestError(f"the request is larger than {cap / 1024 / 1024:g} MiB", code="too_large", status=413)
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 15 or int(declared) > cap):
        raise too_large
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError("compressed bodies are not read", code="unsupported_encoding", status=415)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > cap:
                    raise too_large
    except TimeoutError:
        raise RequestError(f"not sent within {BODY_SECONDS:g} s", code="timeout", status=408) from None
    return bytes(body)
