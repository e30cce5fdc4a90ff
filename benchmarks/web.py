"""A small web on one port: good pictures, and one place for each way in which the real one fails. Counts who asks for what.

usage: python benchmarks/web.py FOLDER      (prints its address; FOLDER holds pictures: 0.jpg, 1.jpg, ...)

/ok/N /missing/N (404) /busy/N (429, Retry-After) /reset/N /stall/N /page/N (HTML) /cut/N (breaks off) /huge/N /loop/N
/optout/N (X-Robots-Tag) /private/N (robots.txt); GET /hits; POST /heal: what may pass has passed.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path

from aiohttp import web

EXPECTED = {
    "ok": "ok", "missing": "http_404", "busy": "http_429", "reset": "reset", "stall": "timeout", "page": "not_media",
    "cut": "truncated", "huge": "too_large", "loop": "redirects", "optout": "opted_out", "private": "robots",
}  # fmt: skip
FAILURES = tuple(kind for kind in EXPECTED if kind != "ok")
PASSING = ("busy", "reset", "stall", "cut")
HUGE = 2**40


class Web:
    def __init__(self, folder: Path) -> None:
        self.pictures = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
        self.hits: Counter[str] = Counter()
        self.healed = False

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/robots.txt", self.robots)
        app.router.add_get("/.well-known/tdmrep.json", self.nothing)
        app.router.add_get("/hits", self.told)
        app.router.add_post("/heal", self.heal)
        app.router.add_get("/{kind}/{n}", self.answer)
        return app

    async def robots(self, request: web.Request) -> web.Response:
        return web.Response(text="User-agent: *\nDisallow: /private/\n")

    async def nothing(self, request: web.Request) -> web.Response:
        return web.Response(status=404)

    async def told(self, request: web.Request) -> web.Response:
        return web.json_response(self.hits)

    async def heal(self, request: web.Request) -> web.Response:
        self.healed = True
        return web.Response()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        kind, n = request.match_info["kind"], request.match_info["n"]
        self.hits[f"/{kind}/{n}"] += 1
        picture = self.pictures[int(n) % len(self.pictures)]
        if kind == "ok" or (self.healed and kind in PASSING) or kind not in EXPECTED:
            return web.Response(body=picture, content_type="image/jpeg")
        if kind == "missing":
            return web.Response(status=404)
        if kind == "busy":
            return web.Response(status=429, headers={"Retry-After": "3600"})
        if kind == "page":
            return web.Response(text="<html>a page</html>", content_type="image/jpeg")
        if kind == "loop":
            return web.Response(status=302, headers={"Location": f"/loop/{n}"})
        if kind == "optout":
            return web.Response(body=picture, content_type="image/jpeg", headers={"X-Robots-Tag": "noai, noimageai"})
        if kind == "private":
            return web.Response(body=picture, content_type="image/jpeg")
        if kind == "stall":
            await asyncio.sleep(3600)
        if kind in ("cut", "huge"):
            size = len(picture) if kind == "cut" else HUGE
            head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {size}\r\n\r\n".encode()
            assert request.transport is not None
            request.transport.write(head + picture[: len(picture) // 2])
            await asyncio.sleep(0.05)
            if request.transport is not None:  # else the client went first
                request.transport.close()
        elif request.transport is not None:
            request.transport.abort()
        return web.Response()


async def serve(folder: Path) -> None:
    runner = web.AppRunner(Web(folder).app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print("http://{}:{}".format(*runner.addresses[0][:2]), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
