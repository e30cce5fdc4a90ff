"""The Ray Serve deployments of a server: ingress, model and decoders.

Each gets its model as Ray Serve's `user_config`. Another model in it calls `reconfigure`, without a restart. Ray is imported
inside the functions, as in `app.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from codi2_model.checkpoints.device import uses_bfloat16
from codi2_model.generation.events import Progress
from codi2_model.serving.deploy.settings import ServerSettings
from codi2_model.serving.openai.chat_response import Accepted, Failed, ServerEvent
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.protocol import ChatRequest
from codi2_model.serving.scheduler.hot_swap import HotSwapModel, ModelCache, ServedModel

STATUS_SECONDS = 5.0  # timeout for a replica to return its status
LOST = "the replica with this request was lost: send the request again"


def application(
    served: ServedModel,
    settings: ServerSettings,
    gpu: bool = False,
    decoders: Sequence[str] = (),
    version: str | None = None,
) -> Any:
    """The Ray Serve application of a model. Call it after Ray is initialised.

    `decoders`: modalities whose decoders are separate deployments. If it is run again with another model and the same
    `version`, the existing replicas switch their model.
    """
    from ray import serve as ray_serve

    def placed(deployment: Any) -> Any:
        options: dict[str, Any] = {"user_config": served.to_config()}
        if version is not None:  # otherwise each `run` has a new version and restarts all replicas
            options |= {"version": version, "_internal": True}
        return deployment.options(**options)

    split = {name: placed(_decoder(ray_serve, name, gpu)).bind(settings) for name in decoders}
    model = placed(_model(ray_serve, settings, gpu)).bind(settings, split)
    return placed(_ingress(ray_serve, settings)).bind(model, settings)


def _decoder(ray_serve: Any, modality: str, gpu: bool) -> Any:
    """The deployment of one decoder. It batches the decode requests of all model replicas."""

    @ray_serve.deployment(
        name=modality, max_ongoing_requests=64, ray_actor_options={"num_cpus": 0, "num_gpus": 0.2 if gpu else 0}
    )
    class Decoder:
        def __init__(self, settings: ServerSettings) -> None:
            self.precision = settings.precision
            self.models = ModelCache(self._load, settings.timeout_s)

        def _load(self, served: ServedModel) -> Any:
            from codi2_model.serving.scheduler.engine import Engine

            model = Engine(served.folder(), served.model_id).model
            model.llm = None  # this deployment does not generate text
            return model

        async def reconfigure(self, config: dict[str, Any]) -> None:
            await self.models.take(ServedModel.from_config(config))

        async def prepare(self, served: ServedModel) -> None:
            await asyncio.to_thread(self.models.get, served)

        async def discard(self) -> None:
            self.models.discard()

        @ray_serve.batch(max_batch_size=8, batch_wait_timeout_s=0.01)
        async def decode(self, requests: list[tuple[ServedModel, Any]]) -> list[Any]:
            return await asyncio.to_thread(self._decode, requests)

        def _decode(self, requests: list[tuple[ServedModel, Any]]) -> list[Any]:
            """Decode each request with the model that made its features."""
            from codi2_model.serving.scheduler.decode_requests import decode

            media: list[Any] = [None] * len(requests)
            for served, key in {(served, request.key()) for served, request in requests}:
                numbers = [n for n, (owner, request) in enumerate(requests) if (owner, request.key()) == (served, key)]
                model = self.models.get(served)
                half = uses_bfloat16(self.precision, model.device)
                values = decode(model, [requests[n][1] for n in numbers], half=half)
                for n, value in zip(numbers, values, strict=True):
                    media[n] = value
            return media

    return Decoder


def _model(ray_serve: Any, settings: ServerSettings, gpu: bool) -> Any:
    scaling: dict[str, Any] = {"num_replicas": 1}
    if settings.replicas > 1:
        target = 2 * settings.max_batch
        limits = {"min_replicas": 1, "max_replicas": settings.replicas, "target_ongoing_requests": target}
        scaling = {"autoscaling_config": limits}

    @ray_serve.deployment(
        name="model",
        max_ongoing_requests=settings.queue + 64,  # the replica itself refuses excess requests, with Retry-After
        graceful_shutdown_timeout_s=settings.drain_s,
        health_check_period_s=5,
        ray_actor_options={"num_cpus": 1, "num_gpus": 1 if gpu and not settings.split_decoders else 0.2 if gpu else 0},
        **scaling,
    )
    class Model:
        def __init__(self, settings: ServerSettings, decoders: dict[str, Any]) -> None:
            self.settings, self.decoders = settings, decoders
            self.holding = HotSwapModel(self._pipeline, settings.drain_s)

        def _pipeline(self, served: ServedModel) -> Any:
            from codi2_model.serving.scheduler.engine import Engine
            from codi2_model.serving.scheduler.pipeline import Pipeline

            threads = max(1, (os.cpu_count() or 1) // self.settings.workers)
            engine = Engine(served.folder(), served.model_id, threads=threads)
            decode = partial(self.decode, engine.model, served) if self.decoders else None
            return Pipeline(engine, self.settings, decode)

        async def reconfigure(self, config: dict[str, Any]) -> None:
            await self.holding.take(ServedModel.from_config(config))

        async def prepare(self, served: ServedModel) -> None:
            await self.holding.prepare(served)

        async def discard(self) -> None:
            await self.holding.discard()

        def decode(self, model: Any, served: ServedModel, jobs: list[Any]) -> None:
            """Decode jobs of one modality in its deployment, without progress events.

            A modality that came with a later model has no deployment and is decoded in this process.
            """
            from codi2_model.generation.events import MediumDone
            from codi2_model.serving.scheduler.decode_requests import run_jobs

            if (decoder := self.decoders.get(jobs[0].request.modality)) is None:
                run_jobs(model, jobs, uses_bfloat16(self.settings.precision, model.device))
                return
            waiting = []
            for job in jobs:
                job.active.push(Progress(job.request.number, 0, job.request.steps))
                waiting.append(decoder.decode.remote((served, job.request)))
            for job, response in zip(jobs, waiting, strict=True):
                value = response.result(timeout_s=600)
                job.active.push(MediumDone(job.request.number, job.request.modality, value))

        async def stream(self, request: ChatRequest) -> AsyncGenerator[ServerEvent, None]:
            events = self.holding.stream(request)
            try:
                async for event in events:
                    yield event
            finally:
                await events.aclose()

        async def answer(self, request: ChatRequest) -> list[ServerEvent]:
            """All events of a reply in one message, for requests that are not streamed."""
            return [event async for event in self.stream(request) if not isinstance(event, Progress)]

        async def numbers(self) -> tuple[str, dict[str, float]]:
            return replica_name(), self.holding.numbers()

        async def ready(self) -> bool:
            return await self.holding.ready()

        async def drain(self) -> None:
            await self.holding.drain()

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
        def __init__(self, model: Any, settings: ServerSettings) -> None:
            from codi2_model.serving.http.metrics import Metrics

            self.backend = Replicas(model)
            self.settings = settings
            self.metrics = Metrics()

        async def reconfigure(self, config: dict[str, Any]) -> None:
            await asyncio.to_thread(self.backend.take, ServedModel.from_config(config))

        def __serve_build_asgi_app__(self) -> Any:  # called by Ray Serve after __init__
            from codi2_model.serving.http.api import build_api

            return build_api(self.backend, self.settings, lambda: self.backend.sizes, self)

        async def counted(self) -> tuple[str, Any]:
            return replica_name(), self.metrics.families()

        async def families(self) -> dict[str, Any]:
            """The counters of all replicas of the ingress."""
            handle = ray_serve.get_deployment_handle("ingress", ray_serve.get_replica_context().app_name)
            return await of_all(handle, "counted")

    return Ingress


class Replicas:
    """A backend that sends each request to a replica of the model.

    If a replica is lost before it sent an event of the reply, the request is sent to another one.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.model_id = ""
        self.sizes: dict[str, int] = {}
        self.modalities: tuple[str, ...] = ()
        self.before: tuple[str, ...] = ()

    def take(self, served: ServedModel) -> None:
        """Set the name, modalities and sizes of the model that the replicas serve."""
        from codi2_model import CoDi2Config
        from codi2_model.serving.openai.generations import sizes_of

        config = CoDi2Config.from_pretrained(served.folder())
        self.modalities, self.sizes = tuple(config.modalities), sizes_of(config)
        self.model_id, self.before = served.model_id, served.before

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ServerEvent, None]:
        from ray.exceptions import RayActorError
        from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

        for attempt in (1, 2):
            started = False
            handle = self.handle.options(stream=True).stream if request.stream else self.handle.answer
            responses = handle.remote(request)
            try:
                if not request.stream:
                    for event in await responses:
                        yield event
                    return
                async for event in responses:
                    started = started or not isinstance(event, Accepted)
                    yield event
                return
            except BackPressureError:
                yield Failed(
                    RequestError(
                        "too many requests are waiting: send the request again later",
                        code="rate_limit_exceeded",
                        status=429,
                        retry_after=5,
                    )
                )
                return
            except (RayActorError, DeploymentUnavailableError):
                if started or attempt == 2:
                    yield Failed(RequestError(LOST, code="unavailable", status=503, retry_after=2))
                    return
            finally:
                responses.cancel()

    async def stats(self) -> dict[str, dict[str, float]]:
        return await of_all(self.handle, "numbers")

    async def ready(self) -> bool:
        try:
            return bool(await asyncio.wait_for(self._replica_ready(), STATUS_SECONDS))
        except Exception:  # a replica that does not answer is not ready
            return False

    async def _replica_ready(self) -> bool:
        return bool(await self.handle.ready.remote())


def replica_name() -> str:
    """The name of this process's replica."""
    from ray import serve as ray_serve

    return str(ray_serve.get_replica_context().replica_id.unique_id)


async def of_all(handle: Any, method: str) -> dict[str, Any]:
    """The results of a method of all replicas, by replica name, without replicas that do not answer within seconds."""
    try:
        results = await handle.broadcast(method).results_async(timeout_s=STATUS_SECONDS, return_exceptions=True)
    except TimeoutError:
        return {}
    return dict(result for result in results if not isinstance(result, BaseException))
