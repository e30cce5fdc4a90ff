"""The HTTP API as a FastAPI app over any backend, without Ray and without a model. `app.py` runs it on Ray Serve.

Errors have OpenAI's format and name the field at fault. Internal errors are logged, and clients get only a reference.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from fastapi.routing import APIRoute
from prometheus_client import Metric
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from codi2_datasets.web.html import STYLE, html
from codi2_model.serving.deploy.settings import ServerSettings
from codi2_model.serving.http.access import AccessMiddleware
from codi2_model.serving.http.answers import RequestHandler, respond
from codi2_model.serving.http.metrics import CONTENT_TYPE, Metrics, text
from codi2_model.serving.http.routes import Routes
from codi2_model.serving.openai.errors import RequestError, excerpt
from codi2_model.serving.openai.generations import Sizes
from codi2_model.serving.openai.response_models import Model, Models, describe, errors
from codi2_model.serving.scheduler.pipeline import Backend

PAGE = Path(__file__).parents[1] / "page"
# The page loads nothing from other hosts, and must not be made to.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_TYPES = {
    "js": "text/javascript", "css": "text/css", "json": "application/json", "md": "text/markdown", "webp": "image/webp",
    "flac": "audio/flac", "mp4": "video/mp4",
}  # fmt: skip


class Counts(Protocol):
    """The counters of this ingress replica, and those of all replicas by name."""

    metrics: Metrics

    async def families(self) -> dict[str, list[Metric]]: ...


class LocalCounts:
    """The counters of a server with one ingress."""

    def __init__(self) -> None:
        self.metrics = Metrics()

    async def families(self) -> dict[str, list[Metric]]:
        return {"": self.metrics.families()}


def build_api(
    backend: Backend,
    settings: ServerSettings | None = None,
    sizes: Callable[[], Sizes] = dict,
    counts: Counts | None = None,
) -> FastAPI:
    """The app. `sizes`: side in pixels of the images and videos that the model generates, to check the field `size`."""
    settings = settings or ServerSettings()
    api = FastAPI(title="CoDi-2", version="1", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    counts = counts or LocalCounts()
    answers = RequestHandler(backend, counts.metrics)
    _add_errors(api)
    _add_plain(api, backend, counts)
    Routes(api, backend, settings, answers, sizes).add()
    _add_page(api)
    describe(api)
    api.add_middleware(AccessMiddleware, settings=settings)
    if settings.origins:
        # any header, because client libraries in browsers add their own
        api.add_middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["GET", "POST"], allow_headers=["*"]
        )
    return api


def _add_errors(api: FastAPI) -> None:
    @api.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> JSONResponse:
        return respond(error)

    @api.exception_handler(HTTPException)
    async def unknown_route(request: Request, error: HTTPException) -> JSONResponse:
        route = excerpt(f"{request.method} {request.url.path}", 100)
        refusal = RequestError(f"no route {route}; known: {routes_of(api)}", code="not_found", status=error.status_code)
        return JSONResponse(refusal.to_json(), error.status_code, headers=error.headers)

    @api.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return respond(RequestError("the URL is not valid", status=404, code="not_found"))


def routes_of(api: FastAPI) -> str:
    """Methods and paths of the API, for error messages."""
    routes = [route for route in api.routes if isinstance(route, APIRoute) and route.include_in_schema]
    return ", ".join(f"{' '.join(sorted(route.methods or ()))} {route.path}" for route in routes)


def _add_plain(api: FastAPI, backend: Backend, counts: Counts) -> None:
    started = int(time.time())

    @api.get("/health", summary="Whether the server runs.", responses=errors())
    async def health() -> dict[str, str]:
        return {"status": "ok", "model": backend.model_id}

    @api.get(
        "/ready",
        summary="Whether the server accepts requests. Status 503 while it shuts down.",
        responses=errors() | {503: {"description": "The server is shutting down.", "model": dict[str, bool]}},
    )
    async def ready(response: Response) -> dict[str, bool]:
        good = await backend.ready()
        response.status_code = 200 if good else 503
        return {"ready": good}

    @api.get("/metrics", summary="Metrics in the Prometheus text format.", response_class=PlainTextResponse)
    async def read_metrics() -> Response:
        return Response(text(await counts.families(), await backend.stats()), media_type=CONTENT_TYPE)

    @api.get("/v1/models", summary="List of models. It has one entry.", responses=errors())
    async def models() -> Models:
        return Models(data=[_model(backend, started)])

    @api.get("/v1/models/{model_id}", summary="A model.", responses=errors())
    async def model(model_id: str) -> Model:
        if model_id != backend.model_id and model_id not in backend.before:
            message = f"no model {model_id[:80]!r}; this server has {backend.model_id!r}"
            raise RequestError(message, "model", "model_not_found", 404)
        return _model(backend, started)


def _model(backend: Backend, created: int) -> Model:
    modalities = ["text", *backend.modalities]
    return Model(id=backend.model_id, created=created, input_modalities=modalities, output_modalities=modalities)


def _add_page(api: FastAPI) -> None:
    @api.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(index_page(), headers={"Content-Security-Policy": PAGE_POLICY})

    @api.get("/page/{name:path}", include_in_schema=False)
    async def file(name: str) -> Response:
        kind, found = PAGE_TYPES.get(name.rpartition(".")[2]), page_files().get(name)
        if kind is None or found is None:
            raise HTTPException(404, "Not Found")
        headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"}
        return Response(found.read_bytes(), media_type=kind, headers=headers)


def index_page() -> str:
    """The page's HTML."""
    return html("CoDi-2", PAGE / "body.html", ['<script type="module" src="page/app.js"></script>'], "page/")


def page_files() -> dict[str, Path]:
    """The files of the page and its examples by name. No other file is served."""
    files = [*PAGE.iterdir(), *(PAGE / "examples").iterdir()]
    return {file.relative_to(PAGE).as_posix(): file for file in files} | {STYLE.name: STYLE}
