"""HTTP server of the page and its API, on the loopback interface only."""

from __future__ import annotations

import mimetypes
import re
import socket
import sys
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from codi2_datasets.browse.runs import RUN_FACETS, Runs
from codi2_datasets.browse.view import FACETS, REJECT_FACETS, BrowseError, View
from codi2_storage.catalog.catalog import CatalogError
from codi2_storage.host.ports import LOOPBACK, listen
from codi2_storage.host.shutdown import stoppable

PAGE = Path(__file__).parent / "page"
FILES = {"": "index.html", "app.js": "app.js", "samples.js": "samples.js", "lineage.js": "lineage.js", "plots.js": "plots.js",
         "runs.js": "runs.js", "gates.js": "gates.js", "model.js": "model.js", "style.css": "style.css"}  # fmt: skip
# only the page's own scripts, and no external content, so that captions cannot run code
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# an evaluation's page has inline styles and no script
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
LAST_SECONDS = 2  # seconds for requests in flight to end after Ctrl-C
Offset = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=1, le=200)]
Name = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


def make_app(root: str, build: str | None = None) -> FastAPI:
    """The app for one build, by default the latest. Raises BrowseError or CatalogError if there is none."""
    view = View(root, build)
    app = FastAPI(title="CoDi-2 browse", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, call_next):  # type: ignore[no-untyped-def]
        response = await call_next(request)
        own = request.url.path.startswith("/evaluations/")
        response.headers["Content-Security-Policy"] = PAGE_POLICY if own else POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @app.exception_handler(CatalogError)
    @app.exception_handler(BrowseError)
    async def missing(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=404)

    @app.get("/api/about")
    def about() -> dict:
        return view.about()

    @app.get("/api/builds")
    def builds() -> list:
        return view.builds()

    @app.get("/api/samples")
    def samples(request: Request, offset: Offset = 0, limit: Limit = 20) -> dict:
        return view.samples(chosen(request, (*FACETS, "order")), offset, limit)

    @app.get("/api/samples/{sample_id}")
    def sample(sample_id: str) -> dict:
        return view.sample(sample_id)

    @app.get("/api/lineage/{sample_id}")
    def lineage(sample_id: str) -> dict:
        return view.lineage(sample_id)

    @app.get("/api/rejects")
    def rejects(request: Request, offset: Offset = 0, limit: Limit = 50) -> dict:
        return view.rejects(chosen(request, REJECT_FACETS), offset, limit)

    @app.get("/api/statistics")
    def statistics() -> dict:
        return view.statistics()

    @app.get("/api/ledger")
    def ledger() -> list:
        return view.ledger()

    add_runs(app, Runs(root))

    @app.get("/media/{name}")
    def media(name: str, request: Request) -> Response:
        data, media_type = view.medium(name.partition(".")[0])
        return ranged(data, media_type, request.headers.get("range"))

    @app.get("/")
    @app.get("/{name}")
    def page(name: str = "") -> Response:
        if name not in FILES:
            return JSONResponse({"error": f"no page {name}"}, status_code=404)
        return FileResponse(PAGE / FILES[name], headers={"Cache-Control": "no-cache"})

    return app


def add_runs(app: FastAPI, runs: Runs) -> None:
    """Add the routes for runs, and for the files of evaluations."""

    @app.get("/api/runs")
    def listed(request: Request, offset: Offset = 0, limit: Limit = 12) -> dict:
        return runs.runs(chosen(request, RUN_FACETS), offset, limit)

    @app.get("/api/runs/{run_id}")
    def run(run_id: Name) -> dict:
        return runs.run(run_id)

    @app.get("/api/gates")
    def gates() -> list:
        return runs.gates()

    @app.get("/api/history")
    def history() -> list:
        return runs.history()

    @app.get("/api/models")
    def models() -> list:
        return runs.models()

    @app.get("/api/models/{checkpoint_id}")
    def model(checkpoint_id: Name) -> dict:
        return runs.model(checkpoint_id)

    @app.get("/evaluations/{run_id}/{name:path}")
    def evaluation(run_id: Name, name: str, request: Request) -> Response:
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        response = ranged(runs.file(run_id, name), media_type, request.headers.get("range"))
        response.headers["Cache-Control"] = "no-cache"  # the page may be rewritten
        return response


def chosen(request: Request, facets: tuple[str, ...]) -> dict[str, str]:
    return {key: value for key, value in request.query_params.items() if key in (*facets, "q")}


def ranged(data: bytes, media_type: str, wanted: str | None) -> Response:
    """The whole content, or the one byte range that a player requested."""
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "max-age=31536000, immutable"}
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if match is None or not any(match.groups()):
        return Response(data, media_type=media_type, headers=headers)
    first, last = match.groups()
    start = int(first) if first else max(0, len(data) - int(last))
    stop = min(int(last) + 1, len(data)) if first and last else len(data)
    if start >= stop:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
    return Response(data[start:stop], 206, headers, media_type)


def at_home(app: FastAPI) -> FastAPI:
    """Accept requests for this machine's own names only, which prevents DNS rebinding by foreign pages."""
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return app


def serve(root: str, port: int = 8765, build: str | None = None) -> None:
    """Serve the page until Ctrl-C."""
    import uvicorn

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(
                f"Look at http://{LOOPBACK}:{listening.getsockname()[1]} (Ctrl-C stops it)", file=sys.stderr, flush=True
            )

    with listen(port) as listening, stoppable() as stopping:
        app = at_home(make_app(root, build))
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=LAST_SECONDS)
        try:
            Announced(config).run(sockets=[listening])
        except BaseException:  # uvicorn raises the signal again after it has ended
            if stopping.signal is None:
                raise
            stopping.say("codi2: stopped")
