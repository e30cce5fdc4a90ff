"""The serving pipeline: a stage for the language model, and one for each decoder.

    request -> [language: up to 8 requests] -> features -> [image] [audio] [video] -> events, in the order of the reply

Each stage has its own batches over all requests: decoders work on the media of some requests while the language model
generates others, and new requests join the batch. The number of active requests is limited; further ones are refused at
once, with Retry-After.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol

from codi2_model.checkpoints.device import uses_bfloat16
from codi2_model.serving.deploy.settings import ServerSettings
from codi2_model.serving.http.metrics import Numbers
from codi2_model.serving.openai.chat_response import Failed, Finished, ServerEvent
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.protocol import ChatRequest
from codi2_model.serving.scheduler.active_requests import ActiveRequest
from codi2_model.serving.scheduler.decode_requests import DecodeJob, run_jobs
from codi2_model.serving.scheduler.engine import Engine
from codi2_model.serving.scheduler.sessions import Sessions
from codi2_model.serving.scheduler.stage import Stage

DRAINING = "the server is shutting down: send the request again later"


class Backend(Protocol):
    """Answers requests. The last event is `Finished` or `Failed`; closing the iterator cancels the request."""

    model_id: str
    modalities: tuple[str, ...]
    before: tuple[str, ...]
    """Names of replaced models, which requests may still use."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[ServerEvent, None]: ...

    async def stats(self) -> Numbers: ...

    async def ready(self) -> bool: ...


class Pipeline:
    """A backend in this process. Its threads end with `close`."""

    def __init__(
        self, engine: Engine, settings: ServerSettings, decoder: Callable[[list[DecodeJob]], None] | None = None
    ) -> None:
        self.engine, self.settings = engine, settings
        self.model_id, self.modalities = engine.model_id, engine.modalities
        self.before: tuple[str, ...] = ()
        self.sessions = Sessions(engine.model, engine.processor, settings.sessions)
        self.draining = False
        self._under_way = 0
        self._seconds = 1.0  # moving average of the duration of a reply
        workers = settings.workers if engine.model.device.type == "cpu" else 1  # parallel batches do not help on a GPU
        half = uses_bfloat16(settings.precision, engine.model.device)
        run = decoder or (lambda jobs: run_jobs(engine.model, jobs, half))
        self.language: Stage[ActiveRequest] = Stage("language", self._write, lambda _: None, settings.max_batch)
        self.decoders: dict[str, Stage[DecodeJob]] = {
            name: Stage(name, run, lambda job: job.request.key(), settings.max_batch, workers)
            for name in engine.modalities
        }

    def _write(self, active_requests: list[ActiveRequest]) -> None:
        self.engine.write(self._opened(active_requests), self._decode, self._more)

    def _more(self, written: int) -> list[ActiveRequest]:
        return self._opened(self.language.more(self.settings.max_batch - written))

    def _decode(self, job: DecodeJob) -> None:
        self.decoders[job.request.modality].put(job)

    def _opened(self, active_requests: list[ActiveRequest]) -> list[ActiveRequest]:
        """The requests with their sessions. A request whose session is busy ends with an error."""
        opened = []
        for active in active_requests:
            if (name := active.request.session) is not None:
                try:
                    active.session = self.sessions.take(name)
                except RequestError as error:
                    active.fail(error)
                    continue
                active.conversation = active.session.conversation(active.request.messages, active.request.marks)
            opened.append(active)
        return opened

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ServerEvent, None]:
        """The events of a reply, as they happen."""
        if (refusal := self._refusal()) is not None:
            yield Failed(refusal)
            return
        loop, events = asyncio.get_running_loop(), asyncio.Queue[ServerEvent]()

        def send(event: ServerEvent) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        active = ActiveRequest(request, send)
        begun = time.monotonic()
        self._under_way += 1
        self.language.put(active)
        try:
            while True:
                event = await self._next(events, begun)
                if isinstance(event, Finished):
                    self._seconds += 0.1 * (time.monotonic() - begun - self._seconds)
                yield event
                if isinstance(event, Finished | Failed):
                    return
        finally:
            self._under_way -= 1
            active.cancel()

    async def _next(self, events: asyncio.Queue[ServerEvent], begun: float) -> ServerEvent:
        try:
            async with asyncio.timeout(self.settings.timeout_s - (time.monotonic() - begun)):
                return await events.get()
        except TimeoutError:
            message = (
                f"not answered within {self.settings.timeout_s:g} s; the server has {self._under_way} active requests"
            )
            return Failed(RequestError(message, code="timeout", status=504))

    def _refusal(self) -> RequestError | None:
        if self.draining:
            return RequestError(DRAINING, code="unavailable", status=503, retry_after=5)
        if self._under_way < self.settings.queue:
            return None
        wait = math.ceil(self._seconds * self._under_way / self.settings.max_batch / 2)
        message = f"the server has {self._under_way} active requests, its limit: send the request again later"
        return RequestError(message, code="rate_limit_exceeded", status=429, retry_after=min(60, max(1, wait)))

    @property
    def under_way(self) -> int:
        """Number of active requests."""
        return self._under_way

    async def stats(self) -> Numbers:
        return {"": self.numbers()}

    def numbers(self) -> dict[str, float]:
        """Active requests, sessions, and the waiting jobs and totals of each stage, as metrics."""
        numbers: dict[str, float] = {"requests_under_way": self._under_way, "sessions": len(self.sessions)}
        for stage in self._stages():
            numbers[f"{stage.name}_waiting"] = stage.waiting()
            numbers[f"{stage.name}_batches_total"] = stage.batches
            numbers[f"{stage.name}_jobs_total"] = stage.jobs
        return numbers

    async def ready(self) -> bool:
        return not self.draining

    async def drain(self) -> None:
        """Refuse new requests, and wait until the active ones are answered, at most `drain_s` seconds."""
        self.draining = True
        end = time.monotonic() + self.settings.drain_s
        while self._under_way and time.monotonic() < end:
            await asyncio.sleep(0.05)

    def _stages(self) -> list[Stage[Any]]:
        return [self.language, *self.decoders.values()]

    def close(self) -> None:
        for stage in self._stages():
            stage.close()
