"""The model on Ray Serve, as deployments that scale apart. The only file of serving that knows Ray.

    ingress (HTTP, checks, media)  ->  model (words and features; decoders too, unless they are split off)
                                           ->  image, audio, video (each with batches of its own)

    serve("checkpoints/final")                                   # until SIGTERM or Ctrl-C
    with serve("checkpoints/final", port=0, blocking=False) as server: ...server.url...
    serve deploy codi2_model/serving/serve.yaml                  # on a cluster

Ray is imported inside the functions: importing this module is cheap, and the local cluster sets Ray's environment first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from codi2_datasets.engine import local_cluster
from codi2_model.checkpoints import checkpoint_folder
from codi2_model.replies import Progress
from codi2_model.serving.launch import PortTaken, Server, Signals, free_port, url_host
from codi2_model.serving.protocol import ChatRequest, RequestError
from codi2_model.serving.settings import LOOPBACK, ServerSettings, read_token
from codi2_model.serving.wire import Failed, ServerEvent

__all__ = ["PortTaken", "Server", "application", "build", "serve"]
NAME = "codi2"
ANSWER_SECONDS = 5.0  # that a replica may take to say how it is
FOR_THE_LOST = ("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", "codi2_model.serving.lost:middlewares")
LOST = "the replica that held this request was lost: send it again"


def serve(
    checkpoint: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    blocking: bool = True,
    model_id: str | None = None,
    num_cpus: int | None = None,
    settings: ServerSettings | None = None,
) -> Server | None:
    """Serve a checkpoint over HTTP. Port 0 takes a free one.

    Blocking, it returns None after SIGTERM or SIGINT, with everything shut down. Raises FileNotFoundError for a checkpoint
    that is not there and PortTaken for a port in use, both before anything is started.
    """
    folder = checkpoint_folder(checkpoint).absolute()
    port = free_port(host, port)
    chosen = settings or ServerSettings()
    if host in LOOPBACK:
        chosen = replace(chosen, hosts=(*LOOPBACK, *chosen.hosts))
    with ExitStack() as stack:
        stopped = stack.enter_context(Signals()) if blocking else None
        server = _start(stack, folder, host, port, model_id or folder.name, num_cpus, chosen)
        if stopped is None:
            server.stack = stack.pop_all()
            return server
        stopped.arm()
        print(f"serving {folder.name} on {server.url} (Ctrl-C stops it)", flush=True)
        stopped.wait()
        print("shutting down", file=sys.stderr, flush=True)
    return None


def build(arguments: dict[str, Any]) -> Any:
    """For `serve deploy`: arguments are checkpoint, model_id, gpu, token_file and the fields of ServerSettings."""
    known = {field.name for field in fields(ServerSettings)} - {"token", "limits"}
    unknown = set(arguments) - known - {"checkpoint", "model_id", "gpu", "token_file"}
    if unknown or "checkpoint" not in arguments:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}" if unknown else "the checkpoint is missing")
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items() if k in known}
    settings = ServerSettings(token=read_token(arguments.get("token_file")), **given)
    folder = checkpoint_folder(arguments["checkpoint"]).absolute()
    return application(folder, arguments.get("model_id") or folder.name, settings, bool(arguments.get("gpu")))


def application(checkpoint: Path, model_id: str, settings: ServerSettings, gpu: bool = False) -> Any:
    """The Ray Serve application of a checkpoint. Call it where Ray is up."""
    from ray import serve as ray_serve

    from codi2_model import CoDi2Config

    config = CoDi2Config.from_pretrained(checkpoint)
    modalities = tuple(config.modalities)
    decoders = {}
    if settings.split_decoders:
        decoders = {name: _decoder(ray_serve, name, gpu).bind(str(checkpoint), model_id) for name in modalities}
    model = _model(ray_serve, settings, gpu).bind(str(checkpoint), model_id, settings, decoders)
    about = (model_id, modalities, settings, int(config.image_size))
    return _ingress(ray_serve, settings).bind(model, *about)


def _decoder(ray_serve: Any, modality: str, gpu: bool) -> Any:
    """One decoder alone: orders of any replicas' requests, in batches of its own."""

    @ray_serve.deployment(
        name=modality, max_ongoing_requests=64, ray_actor_options={"num_cpus": 0, "num_gpus": 0.2 if gpu else 0}
    )
    class Decoder:
        def __init__(self, folder: str, model_id: str) -> None:
            from codi2_model.serving.engine import Engine

            self.model = Engine(folder, model_id).model
            self.model.llm = None  # words are written elsewhere

        @ray_serve.batch(max_batch_size=8, batch_wait_timeout_s=0.01)
        async def decode(self, orders: list[Any]) -> list[Any]:
            return await asyncio.to_thread(self._decode, orders)

        def _decode(self, orders: list[Any]) -> list[Any]:
            from codi2_model.serving.decoding import decode

            made: list[Any] = [None] * len(orders)
            for key in {order.key() for order in orders}:
                places = [n for n, order in enumerate(orders) if order.key() == key]
                for place, value in zip(places, decode(self.model, [orders[n] for n in places]), strict=True):
                    made[place] = value
            return made

    return Decoder


def _model(ray_serve: Any, settings: ServerSettings, gpu: bool) -> Any:
    scaling: dict[str, Any] = {"num_replicas": 1}
    if settings.replicas > 1:
        target = 2 * settings.max_batch
        limits = {"min_replicas": 1, "max_replicas": settings.replicas, "target_ongoing_requests": target}
        scaling = {"autoscaling_config": limits}

    @ray_serve.deployment(
        name="model",
        max_ongoing_requests=settings.queue + 64,  # what is too much is refused by the replica, with when to come again
        graceful_shutdown_timeout_s=settings.drain_s,
        health_check_period_s=5,
        ray_actor_options={"num_cpus": 1, "num_gpus": 1 if gpu and not settings.split_decoders else 0.2 if gpu else 0},
        **scaling,
    )
    class Model:
        def __init__(self, folder: str, model_id: str, settings: ServerSettings, decoders: dict[str, Any]) -> None:
            from codi2_model.serving.engine import Engine
            from codi2_model.serving.pipeline import Pipeline

            engine = Engine(folder, model_id, threads=max(1, (os.cpu_count() or 1) // settings.workers))
            self.decoders = decoders
            self.pipeline = Pipeline(engine, settings, self.decode if decoders else None)

        def decode(self, jobs: list[Any]) -> None:
            """Have jobs decoded by the decoder's own deployment, which tells of no steps between."""
            from codi2_model.replies import MediumDone

            waiting = []
            for job in jobs:
                job.turn.push(Progress(job.order.number, 0, job.order.steps))
                waiting.append(self.decoders[job.order.modality].decode.remote(job.order))
            for job, response in zip(jobs, waiting, strict=True):
                value = response.result(timeout_s=600)
                job.turn.push(MediumDone(job.order.number, job.order.modality, value))

        async def stream(self, request: ChatRequest) -> AsyncGenerator[ServerEvent, None]:
            events = self.pipeline.stream(request)
            try:
                async for event in events:
                    yield event
            finally:
                await events.aclose()

        async def answer(self, request: ChatRequest) -> list[ServerEvent]:
            """All events at once, for those who wait for the whole: a message each would cost more than it tells."""
            return [event async for event in self.stream(request) if not isinstance(event, Progress)]

        async def numbers(self) -> tuple[str, dict[str, float]]:
            return replica_name(), self.pipeline.numbers()

        async def ready(self) -> bool:
            return await self.pipeline.ready()

        async def drain(self) -> None:
            await self.pipeline.drain()

    return Model


def _ingress(ray_serve: Any, settings: ServerSettings) -> Any:
    @ray_serve.deployment(
        name="ingress",
        max_ongoing_requests=4 * settings.queue * settings.replicas + 64,
        graceful_shutdown_timeout_s=settings.drain_s,
        ray_actor_options={"num_cpus": 0},
    )
    @ray_serve.ingress()
    class Ingress:
        def __init__(
            self, model: Any, model_id: str, modalities: tuple[str, ...], settings: ServerSettings, side: int
        ) -> None:
            from codi2_model.serving.metrics import Metrics

            self.backend = Replicas(model, model_id, modalities)
            self.settings, self.side = settings, side
            self.metrics = Metrics()

        def __serve_build_asgi_app__(self) -> Any:  # Ray Serve calls it once the rest is there
            from codi2_model.serving.api import build_api

            return build_api(self.backend, self.settings, self.side, self)

        async def counted(self) -> tuple[str, Any]:
            return replica_name(), self.metrics.families()

        async def families(self) -> dict[str, Any]:
            """The counters of all its replicas, whichever of them is asked."""
            handle = ray_serve.get_deployment_handle("ingress", ray_serve.get_replica_context().app_name)
            return await of_all(handle, "counted")

    return Ingress


class Replicas:
    """A backend that hands each request to one of the model's replicas. What a lost one had not begun is asked anew."""

    def __init__(self, handle: Any, model_id: str, modalities: tuple[str, ...]) -> None:
        self.handle, self.model_id, self.modalities = handle, model_id, modalities

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ServerEvent, None]:
        from ray.exceptions import RayActorError
        from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

        for attempt in (1, 2):
            told = False
            handle = self.handle.options(stream=True).stream if request.stream else self.handle.answer
            responses = handle.remote(request)
            try:
                if not request.stream:
                    for event in await responses:
                        yield event
                    return
                async for event in responses:
                    told = True
                    yield event
                return
            except BackPressureError:
                yield Failed(
                    RequestError("too many requests wait", code="rate_limit_exceeded", status=429, retry_after=5)
                )
                return
            except (RayActorError, DeploymentUnavailableError):
                if told or attempt == 2:
                    yield Failed(RequestError(LOST, code="unavailable", status=503, retry_after=2))
                    return
            finally:
                responses.cancel()

    async def stats(self) -> dict[str, dict[str, float]]:
        return await of_all(self.handle, "numbers")

    async def ready(self) -> bool:
        try:
            return bool(await asyncio.wait_for(self._ask(), ANSWER_SECONDS))
        except Exception:  # whatever keeps a replica from saying so
            return False

    async def _ask(self) -> bool:
        return bool(await self.handle.ready.remote())


def replica_name() -> str:
    """Of the replica that this process is."""
    from ray import serve as ray_serve

    return str(ray_serve.get_replica_context().replica_id.unique_id)


async def of_all(handle: Any, method: str) -> dict[str, Any]:
    """What all replicas of a deployment say, by their names; those that do not answer within seconds are left out."""
    try:
        said = await handle.broadcast(method).results_async(timeout_s=ANSWER_SECONDS, return_exceptions=True)
    except TimeoutError:
        return {}
    return dict(one for one in said if not isinstance(one, BaseException))


def _start(
    stack: ExitStack,
    folder: Path,
    host: str,
    port: int,
    model_id: str,
    num_cpus: int | None,
    settings: ServerSettings,
) -> Server:
    os.environ.setdefault(*FOR_THE_LOST)
    # the proxy and the controller take no whole core, but Ray must be able to place the replicas beside them
    shared = bool(os.environ.get("RAY_ADDRESS"))
    if "ray" in sys.modules:
        shared = shared or sys.modules["ray"].is_initialized()
    stack.enter_context(local_cluster(num_cpus=num_cpus or max(2, settings.replicas, os.cpu_count() or 2)))
    import ray
    from ray import serve as ray_serve

    if not os.environ.get("CODI2_DEBUG"):
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
    stack.callback(_stop, shared)
    ray_serve.start(http_options={"host": host, "port": port, "location": "HeadOnly"})
    gpu = ray.cluster_resources().get("GPU", 0) >= 1
    ray_serve.run(application(folder, model_id, settings, gpu), name=NAME, route_prefix="/")
    return Server(f"http://{url_host(host)}:{port}", stack)


def _stop(shared: bool) -> None:
    """End our application after what it is answering; meanwhile new requests get 503. A cluster of our own ends right
    after; on another's, Serve stays for as long as it has other applications."""
    from ray import serve as ray_serve

    try:
        handle = ray_serve.get_deployment_handle("model", NAME)
        handle.broadcast("drain").results()
    except Exception as error:  # a model that never came up has nothing to finish
        logging.getLogger(__name__).debug("nothing to drain: %s", error)
    ray_serve.delete(NAME)
    if shared and not ray_serve.status().applications:
        ray_serve.shutdown()
