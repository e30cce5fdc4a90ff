"""The model on Ray Serve: one deployment that parses, batches and generates. The only file of serving that knows Ray.

    serve("checkpoints/final")                                   # until SIGTERM or Ctrl-C
    with serve("checkpoints/final", port=0, blocking=False) as server: ...server.url...

Ray is imported inside the functions: importing this module is cheap, and the local cluster sets Ray's environment first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from codi2_datasets.engine import local_cluster
from codi2_model.checkpoints import checkpoint_folder
from codi2_model.serving.protocol import ChatRequest, Reply, RequestError

NAME = "codi2"
MAX_BATCH = 8
BATCH_WAIT_S = 0.02


class PortTaken(OSError):
    """Another program listens on the port; the message says what to do."""


class Server:
    """A running server. `stop` (or leaving the `with` block) ends the application and the cluster it started."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.url = url
        self._stack = stack

    def stop(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(
    checkpoint: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    blocking: bool = True,
    model_id: str | None = None,
    num_cpus: int | None = None,
) -> Server | None:
    """Serve a checkpoint over HTTP. Port 0 takes a free one.

    Blocking, it returns None after SIGTERM or SIGINT, with everything shut down. Raises FileNotFoundError for a checkpoint
    that is not there and PortTaken for a port in use, both before anything is started.
    """
    folder = checkpoint_folder(checkpoint).absolute()
    port = _free_port(host, port)
    with ExitStack() as stack:
        stopped = stack.enter_context(_Signals()) if blocking else None
        server = _start(stack, folder, host, port, model_id or folder.name, num_cpus)
        if stopped is None:
            server._stack = stack.pop_all()
            return server
        stopped.arm()
        print(f"serving {folder.name} on {server.url} (Ctrl-C stops it)", flush=True)
        stopped.wait()
        print("shutting down", file=sys.stderr, flush=True)
    return None


def application(checkpoint: Path, model_id: str, gpu: bool = False) -> Any:
    """The Ray Serve application of a checkpoint. Call it where Ray is up."""
    from ray import serve as ray_serve

    @ray_serve.deployment(
        name=NAME, max_ongoing_requests=64, ray_actor_options={"num_cpus": 1, "num_gpus": 1 if gpu else 0}
    )
    @ray_serve.ingress()
    class ChatServer:
        def __init__(self, folder: str, model_id: str) -> None:
            from codi2_model.serving.engine import Engine

            self.engine = Engine(folder, model_id, threads=os.cpu_count() or 1)
            self.model_id = model_id

        def __serve_build_asgi_app__(self) -> Any:  # Ray Serve calls it once the engine is there
            from codi2_model.serving.api import build_api

            return build_api(self)

        @ray_serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=BATCH_WAIT_S)
        async def batched(self, requests: list[ChatRequest]) -> list[Reply | RequestError]:
            return await asyncio.to_thread(self.engine.complete, requests)

        async def complete(self, request: ChatRequest) -> Reply:
            reply = await self.batched(request)
            if isinstance(reply, RequestError):
                raise reply
            return reply

    deployment: Any = ChatServer
    return deployment.bind(str(checkpoint), model_id)


def _start(stack: ExitStack, folder: Path, host: str, port: int, model_id: str, num_cpus: int | None) -> Server:
    # the proxy and the controller take no whole core, but Ray must be able to place the replica beside them
    shared = bool(os.environ.get("RAY_ADDRESS"))
    if "ray" in sys.modules:
        shared = shared or sys.modules["ray"].is_initialized()
    stack.enter_context(local_cluster(num_cpus=num_cpus or max(2, os.cpu_count() or 2)))
    import ray
    from ray import serve as ray_serve

    if not os.environ.get("CODI2_DEBUG"):
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
    stack.callback(_stop, shared)
    ray_serve.start(http_options={"host": host, "port": port, "location": "HeadOnly"})
    gpu = ray.cluster_resources().get("GPU", 0) >= 1
    ray_serve.run(application(folder, model_id, gpu), name=NAME, route_prefix="/")
    return Server(f"http://{_url_host(host)}:{port}", stack)


def _stop(shared: bool) -> None:
    """End our application after what it is answering. A cluster of our own ends right after; on another's, Serve stays
    for as long as it has other applications."""
    from ray import serve as ray_serve

    ray_serve.delete(NAME)
    if shared and not ray_serve.status().applications:
        ray_serve.shutdown()


def _url_host(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)


def _free_port(host: str, port: int) -> int:
    """The port, proven free (0: any free one). Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"cannot listen on {host}:{port} ({error.strerror}): choose another port with --port"
            ) from None
        return int(probe.getsockname()[1])


class _Signals:
    """SIGTERM and SIGINT end the server in good order: while it starts by unwinding, later by ending the wait."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._armed = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._install()
        return self

    def _install(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before.setdefault(number, signal.signal(number, self._handle))

    def arm(self) -> None:
        """From now on signals end `wait`. Ray installs a handler of its own when it starts; this takes its place."""
        self._install()
        self._armed = True

    def wait(self) -> None:
        while not self._event.wait(timeout=0.5):
            pass

    def _handle(self, number: int, _: object) -> None:
        self._event.set()
        if not self._armed:
            raise SystemExit(128 + number)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
