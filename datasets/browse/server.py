"""HTTP server of the page and its API, on the loopback interface only."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from codi2_datasets.browse.contributed import ContributedViews
from codi2_datasets.browse.view import FACETS, REJECT_FACETS, View
from codi2_datasets.web.html import STYLE, html
from codi2_storage.errors import UsageError
from codi2_storage.host.ports import LOOPBACK, listen
from codi2_storage.host.shutdown import stoppable

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("plots.js", "lineage.js", "samples.js", "app.js")
# only the page's own scripts, and no external content, so that captions cannot run code
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
FRESH = {"Cache-Control": "no-cache"}
LAST_SECONDS = 2  # seconds for requests in flight to end after Ctrl-C
Offset = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=1, le=200)]
Name = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


def make_app(root: str, build: str | None = None, views: ContributedViews | None = None) -> FastAPI:
    """The app for one build, by default the latest. Raises BrowseError or CatalogError if there is none."""
    view = View(root, build)
    app = FastAPI(title="CoDi-2 browse", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, call_next):  # type: ignore[no-untyped-def]
        response = await call_next(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @app.exception_handler(UsageError)
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

    files = page_files(views)
    if views is not None:
        views.add_routes(app, root)

    @app.get("/media/{name}")
    def media(name: str, request: Request) -> Response:
        data, media_type = view.medium(name.partition(".")[0])
        return ranged(data, media_type, request.headers.get("range"))

    @app.get("/")
    def index() -> Response:
        return HTMLResponse(index_page(views), headers=FRESH)

    @app.get("/{name}")
    def page(name: str) -> Response:
        if name not in files:
            return JSONResponse({"error": f"no page {name}"}, status_code=404)
        return FileResponse(files[name], headers=FRESH)

    return app


def page_files(views: ContributedViews | None) -> dict[str, Path]:
    """The scripts and the style of the page by name, with those of contributed views."""
    folders = [PAGE, *([views.page] if views else [])]
    return {file.name: file for folder in folders for file in (*sorted(folder.glob("*.js")), STYLE)}


def index_page(views: ContributedViews | None, tags: Sequence[str] = ()) -> str:
    """The page's HTML, which loads the scripts of contributed views last. `tags` come first in its head."""
    names = (*SCRIPTS, *(views.scripts if views else ()))
    return html(
        "CoDi-2 browse", PAGE / "body.html", (*tags, *(f'<script src="{name}" defer></script>' for name in names))
    )


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


def serve(root: str, port: int = 8765, build: str | None = None, views: ContributedViews | None = None) -> None:
    """Serve the page until Ctrl-C."""
    import uvicorn

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(
                f"Look at http://{LOOPBACK}:{listening.getsockname()[1]} (Ctrl-C stops it)", file=sys.stderr, flush=True
            )

    with listen(port) as listening, stoppable() as stopping:
        app = at_home(make_app(root, build, views))
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=LAST_SECONDS)
        try:
            Announced(config).run(sockets=[listening])
        except BaseException:  # uvicorn raises the signal again after it has ended
            if stopping.signal is None:
                raise
            stopping.say("codi2: stopped")
