"""Handling of a request: a complete or streamed response, with metrics, cancelled when the client disconnects."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import ClientDisconnect

from codi2_model.generation.events import MediumDone
from codi2_model.serving.http.metrics import Metrics
from codi2_model.serving.openai.chat_response import (
    KEEP_ALIVE,
    Accepted,
    Answer,
    ChunkWriter,
    Failed,
    Finished,
    Reply,
    ReplyBuilder,
    ServerEvent,
    StreamWriter,
    completion,
)
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.protocol import ChatRequest
from codi2_model.serving.openai.response_store import ResponseStore
from codi2_model.serving.scheduler.pipeline import Backend

log = logging.getLogger(__name__)
T = TypeVar("T")
MAX_PARALLEL = 4  # bodies parsed or replies encoded in parallel, because media need memory
KEEP_ALIVE_SECONDS = 15.0  # without an event, after which a stream sends a comment


class ClientDisconnected(RequestError):
    """The client has disconnected. The response is not sent, only counted."""

    def __init__(self) -> None:
        super().__init__("the client has disconnected", code="client_closed_request", status=499)


@dataclass
class RequestTimer:
    """Route and start time of a request. `streams`: its response is a stream, which is counted at its end."""

    route: str
    begun: float = field(default_factory=time.monotonic)
    streams: bool = False


def respond(error: RequestError) -> JSONResponse:
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONResponse(error.to_json(), error.status, headers)


class RequestHandler:
    """Sends requests to a backend and makes the responses."""

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self.backend, self.metrics = backend, metrics
        self.replies = ResponseStore()
        self._slots = asyncio.Semaphore(MAX_PARALLEL)

    async def run_in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function that works on media in a thread."""
        async with self._slots:
            return await asyncio.to_thread(function, *arguments)

    @asynccontextmanager
    async def measured(self, route: str) -> AsyncIterator[RequestTimer]:
        """Count the response. An internal error becomes a RequestError without internal details."""
        measure = RequestTimer(route)
        try:
            yield measure
        except RequestError as error:
            self.count(measure, error.status)
            raise
        except ClientDisconnect:
            self.count(measure, 499)
            raise ClientDisconnected() from None
        except Exception as error:
            self.count(measure, 500)
            raise internal_error(error) from None
        else:
            if not measure.streams:
                self.count(measure, 200)

    def count(self, measure: RequestTimer, status: int) -> None:
        self.metrics.requests.labels(measure.route, str(status)).inc()
        self.metrics.seconds.labels(measure.route).observe(time.monotonic() - measure.begun)
        if status == 499:
            self.metrics.given_up.inc()

    async def chat(self, request: Request, chat_request: ChatRequest, measure: RequestTimer) -> Response:
        head = self.head("chatcmpl-")
        if chat_request.stream:
            return await self.streamed(request, chat_request, head, measure, ChunkWriter(chat_request, head))
        reply = await self.cancel_on_disconnect(request, self.complete_reply(chat_request, head))
        answer = await self.run_in_thread(completion, reply, chat_request, head)
        return self.kept(answer)

    def kept(self, answer: Answer) -> JSONResponse:
        self.keep(answer.to_keep)
        return JSONResponse(answer.body)

    def head(self, prefix: str) -> dict[str, Any]:
        """The first fields of every response."""
        return {"id": f"{prefix}{uuid.uuid4().hex}", "created": int(time.time()), "model": self.backend.model_id}

    def keep(self, parts_by_id: Mapping[str, list[dict[str, Any]]]) -> None:
        """Store parts that clients may later refer to by id."""
        for identity, parts in parts_by_id.items():
            self.replies.keep(identity, parts)

    async def streamed(
        self,
        request: Request,
        chat_request: ChatRequest,
        head: dict[str, Any],
        measure: RequestTimer,
        writer: StreamWriter,
    ) -> Response:
        """A reply as server-sent events. `head`: the first fields of every event of the writer."""
        events = self.events(chat_request, head)
        # the first event determines the status: a refusal is an error response, not an event
        first = await self.cancel_on_disconnect(request, anext(events))
        if isinstance(first, Failed):
            raise first.error
        measure.streams = True
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        stream = self.stream(first, events, writer, measure)
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def complete_reply(self, chat_request: ChatRequest, head: dict[str, Any] | None = None) -> Reply:
        """The complete reply."""
        builder = ReplyBuilder()
        async with aclosing(self.events(chat_request, head)) as events:
            async for event in events:
                if (reply := builder.take(event)) is not None:
                    return reply
        raise RuntimeError("the backend's events ended without Finished or Failed")

    async def events(self, chat_request: ChatRequest, head: dict[str, Any] | None) -> AsyncGenerator[ServerEvent, None]:
        """The events of the backend, counted. The id of the model that answers is put into `head`."""
        begun, first = time.monotonic(), True
        async with aclosing(self.backend.stream(chat_request)) as events:
            async for event in events:
                if isinstance(event, Accepted):
                    if head is not None:
                        head["model"] = event.model_id
                    continue
                if first:
                    self.metrics.first.observe(time.monotonic() - begun)
                    first = False
                if isinstance(event, MediumDone):
                    self.metrics.media.labels(event.modality).inc()
                elif isinstance(event, Finished):
                    for kind in ("prompt", "cached", "completion"):
                        self.metrics.tokens.labels(kind).inc(getattr(event, f"{kind}_tokens"))
                yield event

    async def stream(
        self, first: ServerEvent, events: AsyncGenerator[ServerEvent, None], writer: StreamWriter, measure: RequestTimer
    ) -> AsyncIterator[str]:
        """The lines of a streamed reply. Closing the iterator (the client disconnected) cancels the request."""
        status = 499
        try:
            for line in writer.opening():
                yield line
            event: ServerEvent | None = first
            while event is not None:
                for line in await self.run_in_thread(writer.lines, event):
                    yield line
                if isinstance(event, Finished | Failed):
                    status = event.error.status if isinstance(event, Failed) else 200
                    break
                async for event in _with_pauses(events):
                    if event is not None:
                        break
                    yield KEEP_ALIVE
            if status == 200:
                self.keep(writer.to_keep())
        except Exception as error:
            status = 500
            for line in writer.lines(Failed(internal_error(error))):
                yield line
        finally:
            self.count(measure, status)
            await events.aclose()

    async def cancel_on_disconnect(self, request: Request, work: Awaitable[T]) -> T:
        """The result of `work`. If the client disconnects, cancel it and raise ClientDisconnected."""
        task: asyncio.Future[T] = asyncio.ensure_future(work)
        watch = asyncio.ensure_future(_disconnected(request))
        try:
            both: set[asyncio.Future[Any]] = {task, watch}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ClientDisconnected()
        finally:
            for future in (task, watch):
                future.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _with_pauses(events: AsyncIterator[ServerEvent]) -> AsyncIterator[ServerEvent | None]:
    """The next event, with None before it for every KEEP_ALIVE_SECONDS of waiting."""
    task: asyncio.Future[ServerEvent] = asyncio.ensure_future(anext(events))
    try:
        while not (await asyncio.wait({task}, timeout=KEEP_ALIVE_SECONDS))[0]:
            yield None
        yield task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def internal_error(error: BaseException) -> RequestError:
    """The error that a client gets for an internal one: only a reference to the server's log."""
    reference = uuid.uuid4().hex[:12]
    log.error("request %s failed", reference, exc_info=error)
    message = f"the model failed on this request; the server's log has the details under {reference}"
    return RequestError(message, code="internal_error", status=500)
