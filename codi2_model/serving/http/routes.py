"""The routes of the API that generate replies and media."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from codi2_model.serving.deploy.settings import ServerSettings
from codi2_model.serving.http.answers import RequestHandler
from codi2_model.serving.http.multipart import parse_form
from codi2_model.serving.http.remote_media import RemoteFetcher
from codi2_model.serving.openai import response_models
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.generations import (
    BODIES,
    ROUTES,
    EditBody,
    GenerationBody,
    Sizes,
    edit_fields,
    generation_json,
    parse_edit,
    parse_generation,
)
from codi2_model.serving.openai.protocol import ChatRequest, parse_object, parse_request
from codi2_model.serving.openai.request_models import ChatBody
from codi2_model.serving.openai.response_models import (
    Completion,
    Generated,
    Responses,
    answers,
    audio_answers,
    request_body,
)
from codi2_model.serving.openai.responses_request import ResponsesBody, parse_responses
from codi2_model.serving.openai.responses_response import ResponseWriter, response
from codi2_model.serving.openai.speech import SpeechBody, speech_file, speech_request
from codi2_model.serving.openai.validation import Body, ModelCard, Server
from codi2_model.serving.scheduler.pipeline import Backend

BODY_SECONDS = 60.0  # timeout for a client to send the body


class Routes:
    """Adds the routes to an app."""

    def __init__(
        self,
        api: FastAPI,
        backend: Backend,
        settings: ServerSettings,
        answers: RequestHandler,
        sizes: Callable[[], Sizes],
    ) -> None:
        self.api, self.backend, self.answers, self.sizes = api, backend, answers, sizes
        self.limits = settings.limits
        self.fetch = RemoteFetcher(settings.remote_hosts) if settings.remote_hosts else None

    def add(self) -> None:
        self._chat()
        self._responses()
        for route, modality in ROUTES.items():
            self._generations(route, modality)
        self._edits()
        self._speech()

    def model(self) -> ModelCard:
        return ModelCard(self.backend.model_id, self.backend.modalities, self.backend.before)

    def server(self) -> Server:
        return Server(self.model(), self.limits)

    async def body(self, request: Request) -> bytes:
        return await read_body(request, self.limits.body_bytes)

    def _post(self, path: str, body: type[Body], summary: str, responses: Responses, form: bool = False) -> Any:
        extra = request_body(body, form)
        return self.api.post(path, summary=summary, openapi_extra=extra, responses=responses, response_class=Response)

    def _chat(self) -> None:
        summary = "Reply to a conversation of text, images, audio and video, as JSON or server-sent events."

        @self._post("/v1/chat/completions", ChatBody, summary, answers(Completion, stream=True))
        async def chat(request: Request) -> Response:
            async with self.answers.measured("chat") as measure:
                about = self.model(), self.limits, self.fetch, self.answers.replies
                parsed = await self.answers.run_in_thread(parse_request, await self.body(request), *about)
                return await self.answers.chat(request, parsed, measure)

    def _responses(self) -> None:
        summary = "Reply of text and images in the format of OpenAI's Responses API, as JSON or server-sent events."

        @self._post("/v1/responses", ResponsesBody, summary, answers(response_models.Response, stream=True))
        async def responses(request: Request) -> Response:
            async with self.answers.measured("responses") as measure:
                about = self.model(), self.limits, self.fetch, self.answers.replies
                parsed = await self.answers.run_in_thread(parse_responses, await self.body(request), *about)
                head = self.answers.head("resp_")
                if parsed.chat.stream:
                    writer = ResponseWriter(parsed, head)
                    return await self.answers.streamed(request, parsed.chat, head, measure, writer)
                reply = await self.answers.cancel_on_disconnect(request, self.answers.complete_reply(parsed.chat, head))
                return self.answers.kept(await self.answers.run_in_thread(response, reply, parsed, head))

    def _generations(self, route: str, modality: str) -> None:
        body, summary = BODIES[modality], f"Generate media from a prompt: {modality}."

        @self._post(f"/v1/{route}/generations", body, summary, answers(Generated))
        async def generations(request: Request) -> Response:
            async with self.answers.measured(route):
                server = self.server()
                parsed = body.parse(parse_object(await self.body(request)), server)
                return await self._generate(
                    request, parse_generation(parsed, modality, server, self.sizes()), modality, parsed
                )

    def _edits(self) -> None:
        summary = "Edit images by a prompt. The body is a form with files, or JSON with URLs."

        @self._post("/v1/images/edits", EditBody, summary, answers(Generated), form=True)
        async def edits(request: Request) -> Response:
            async with self.answers.measured("edits"):
                body, kind = await self.body(request), request.headers.get("content-type", "")
                is_form = kind.lower().startswith("multipart/form-data")
                server = self.server()
                parsed = EditBody.parse(edit_fields(parse_form(body, kind)) if is_form else parse_object(body), server)
                about = parsed, server, self.sizes(), self.fetch
                requests = await self.answers.run_in_thread(parse_edit, *about)
                return await self._generate(request, requests, "image", parsed)

    async def _generate(
        self, request: Request, requests: list[ChatRequest], modality: str, body: GenerationBody
    ) -> JSONResponse:
        replies = await self.answers.cancel_on_disconnect(
            request, asyncio.gather(*map(self.answers.complete_reply, requests))
        )
        return JSONResponse(
            await self.answers.run_in_thread(generation_json, replies, modality, int(time.time()), body)
        )

    def _speech(self) -> None:
        summary = "Generate an audio file of the sound that a text describes."

        @self._post("/v1/audio/speech", SpeechBody, summary, audio_answers())
        async def speech(request: Request) -> Response:
            async with self.answers.measured("speech"):
                server = self.server()
                body = SpeechBody.parse(parse_object(await self.body(request)), server)
                chat = speech_request(body, server)
                reply = await self.answers.cancel_on_disconnect(request, self.answers.complete_reply(chat))
                data, media_type = await self.answers.run_in_thread(speech_file, reply, body)
                return Response(data, media_type=media_type)


async def read_body(request: Request, cap: int) -> bytes:
    """The body. Raises RequestError if it is larger than `cap`, compressed, or not sent in time."""
    too_large = RequestError(f"the request is larger than {cap / 1024 / 1024:g} MiB", code="too_large", status=413)
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 15 or int(declared) > cap):
        raise too_large
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        message = "compressed bodies are not supported: send it without Content-Encoding"
        raise RequestError(message, code="unsupported_encoding", status=415)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > cap:
                    raise too_large
    except TimeoutError:
        raise RequestError(f"the body was not sent within {BODY_SECONDS:g} s", code="timeout", status=408) from None
    return bytes(body)
