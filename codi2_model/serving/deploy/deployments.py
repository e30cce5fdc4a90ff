"""What runs on Ray Serve: the deployments of a server, and how each changes its model in place.

Each gets the model that it is to serve as Ray Serve's `user_config`, first and ever after: another there is no restart, but
`reconfigure`. Ray is imported inside the functions, as in `app.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from codi2_model.generation.events import Progress
from codi2_model.serving.deploy.settings import ServerSettings
from codi2_model.serving.openai.chat_response import Accepted, Failed, ServerEvent
from codi2_model.serving.openai.protocol import ChatRequest, RequestError
from codi2_model.serving.scheduler.hot_swap import HotSwapModel, ModelCache, ServedModel

ANSWER_SECONDS = 5.0  # that a replica may take to say how it is
LOST = "the replica that held this request was lost: send it again"


def application(
    served: ServedModel,
    settings: ServerSettings,
    gpu: bool = False,
    decoders: Sequence[str] = (),
    version: str | None = None,
) -> Any:
    """The Ray Serve application of a model; `decoders`: modalities that get deployments of their own. Call it where Ray is up.

    Run again with another model and the same `version`, it has the replicas that are there change their model.
    """
    from ray import serve as ray_serve

    def placed(deployment: Any) -> Any:
        options: dict[str, Any] = {"user_config": served.to_config()}
        if version is not None:  # else Serve makes up a new one for every `run`, and starts all replicas anew
            options |= {"version": version, "_internal": True}
        return deployment.options(**options)

    split = {name: placed(_decoder(ray_serve, name, gpu)).bind(settings.timeout_s) for name in decoders}
    model = placed(_model(ray_serve, settings, gpu)).bind(settings, split)
    return placed(_ingress(ray_serve, settings)).bind(model, settings)


def _decoder(ray_serve: Any, modality: str, gpu: bool) -> Any:
    """One decoder alone: orders of any replicas' requests, in batches of its own."""

    @ray_serve.deployment(
        name=modality, max_ongoing_requests=64, ray_actor_options={"num_cpus": 0, "num_gpus": 0.2 if gpu else 0}
    )
    class Decoder:
        def __init__(self, keep_s: float) -> None:
            self.models = ModelCache(self._load, keep_s)

        def _load(self, served: ServedModel) -> Any:
            from codi2_model.serving.scheduler.engine import Engine

            model = Engine(served.folder(), served.model_id).model
            model.llm = None  # words are written elsewhere
            return model

        async def reconfigure(self, config: dict[str, Any]) -> None:
            await self.models.take(ServedModel.from_config(config))

        async def prepare(self, served: ServedModel) -> None:
            await asyncio.to_thread(self.models.get, served)

        async def discard(self) -> None:
            self.models.discard()

        @ray_serve.batch(max_batch_size=8, batch_wait_timeout_s=0.01)
        async def decode(self, orders: list[tuple[ServedModel, Any]]) -> list[Any]:
            return await asyncio.to_thread(self._decode, orders)

        def _decode(self, orders: list[tuple[ServedModel, Any]]) -> list[Any]:
            """Each by the model whose features it has."""
            from codi2_model.serving.scheduler.decode_requests import decode

            made: list[Any] = [None] * len(orders)
            for served, key in {(served, order.key()) for served, order in orders}:
                places = [n for n, (whose, order) in enumerate(orders) if (whose, order.key()) == (served, key)]
                model = self.models.get(served)
                for place, value in zip(places, decode(model, [orders[n][1] for n in places]), strict=True):
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
            """Have jobs of one modality decoded by its own deployment, which tells of no steps between; here, where that
            modality came with a later model and has none."""
            from codi2_model.generation.events import MediumDone
            from codi2_model.serving.scheduler.decode_requests import run_jobs

            if (decoder := self.decoders.get(jobs[0].order.modality)) is None:
                run_jobs(model, jobs)
                return
            waiting = []
            for job in jobs:
                job.turn.push(Progress(job.order.number, 0, job.order.steps))
                waiting.append(decoder.decode.remote((served, job.order)))
            for job, response in zip(jobs, waiting, strict=True):
                value = response.result(timeout_s=600)
                job.turn.push(MediumDone(job.order.number, job.order.modality, value))

        async def stream(self, request: ChatRequest) -> AsyncGenerator[ServerEvent, None]:
            events = self.holding.stream(request)
            try:
                async for event in events:
                    yield event
            finally:
                await events.aclose()

        async def answer(self, request: ChatRequest) -> list[ServerEvent]:
            """All events at once, for those who wait for the whole: a message each would cost more than it tells."""
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

        def __serve_build_asgi_app__(self) -> Any:  # Ray Serve calls it once the rest is there
            from codi2_model.serving.http.api import build_api

            return build_api(self.backend, self.settings, lambda: self.backend.sizes, self)

        async def counted(self) -> tuple[str, Any]:
            return replica_name(), self.metrics.families()

        async def families(self) -> dict[str, Any]:
            """The counters of all its replicas, whichever of them is asked."""
            handle = ray_serve.get_deployment_handle("ingress", ray_serve.get_replica_context().app_name)
            return await of_all(handle, "counted")

    return Ingress


class Replicas:
    """A backend that hands each request to one of the model's replicas. What a lost one had not begun is asked anew."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.model_id = ""
        self.sizes: dict[str, int] = {}
        self.modalities: tuple[str, ...] = ()
        self.before: tuple[str, ...] = ()

    def take(self, served: ServedModel) -> None:
        """What is said of the model that the replicas serve."""
        from codi2_model import CoDi2Config
        from codi2_model.serving.openai.generations import sizes_of

        config = CoDi2Config.from_pretrained(served.folder())
        self.modalities, self.sizes = tuple(config.modalities), sizes_of(config)
        self.model_id, self.before = served.model_id, served.before

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
                    told = told or not isinstance(event, Accepted)
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
