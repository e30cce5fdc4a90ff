"""A web server on loopback for tests: answers by request target, and keeps every target as it stood on the wire."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Reply = tuple[int, Mapping[str, str | bytes], bytes]


@dataclass
class Site:
    url: str
    targets: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)


@contextmanager
def site(reply: Callable[[str], Reply]) -> Iterator[Site]:
    """`reply(target)` gives status, headers (bytes are sent as they are) and body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            target = self.raw_requestline.split(b" ", 1)[1].rsplit(b" ", 1)[0].decode("latin-1")
            found.targets.append(target)
            found.hosts.append(self.headers["Host"])
            status, headers, body = reply(target)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value if isinstance(value, str) else value.decode("latin-1"))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Site(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
