"""Active requests: the state of one request, and the generation of many replies in one batch."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import torch

from codi2_model.decoders import Reference
from codi2_model.generation.decode_loop import Reply, ReplyMedium, Writer
from codi2_model.generation.events import MediumBegun, MediumDone, Options, Progress
from codi2_model.processor import CoDi2Processor
from codi2_model.serving.openai.chat_response import Failed, Finished, ReplyBuilder, ServerEvent
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.protocol import ChatRequest, Settings
from codi2_model.serving.scheduler.decode_requests import DecodeRequest


class ActiveRequest:
    """A request and its events, which are sent in the order of the reply.

    Decoders run while the language model continues: events after a medium are kept back until the medium is decoded.
    """

    def __init__(self, request: ChatRequest, send: Callable[[ServerEvent], None]) -> None:
        self.request = request
        self.cancelled = False
        self.ended = False
        self.session: Any = None
        self.conversation = request.messages
        self.prompt_tokens = 0
        self.builder = ReplyBuilder()
        self._send = send
        self._queue: deque[ServerEvent] = deque()
        self._done: dict[int, MediumDone] = {}
        self._open: int | None = None
        self._lock = threading.Lock()

    @property
    def gone(self) -> bool:
        """Whether it has ended or was cancelled, so that no work on it is needed."""
        return self.cancelled or self.ended

    def push(self, event: ServerEvent) -> None:
        """Add an event. It is sent once all earlier ones of the reply are."""
        with self._lock:
            if isinstance(event, Progress):
                if event.number == self._open and self.request.stream:
                    self._emit(event)
                return
            if isinstance(event, MediumDone):
                self._done[event.number] = event
            else:
                self._queue.append(event)
            self._flush()

    def _flush(self) -> None:
        while True:
            if self._open is not None:
                if self._open not in self._done:
                    return
                self._emit(self._done.pop(self._open))
                self._open = None
            if not self._queue:
                return
            event = self._queue.popleft()
            self._emit(event)
            if isinstance(event, MediumBegun):
                self._open = event.number

    def _emit(self, event: ServerEvent) -> None:
        if self.ended or self.cancelled:
            return
        if isinstance(event, Finished):
            self._keep()
        if not isinstance(event, Finished | Failed):
            self.builder.take(event)
        else:
            self.ended = True
            self._release()
        self._send(event)

    def _keep(self) -> None:
        if self.session is not None:
            request = self.request
            self.session.keep(self.conversation, request.marks, self.builder.content, request.audio_format)

    def _release(self) -> None:
        if self.session is not None:
            self.session.busy = False

    def cancel(self) -> None:
        """Cancel the request: it leaves the batch and the queues."""
        with self._lock:
            if not self.ended:
                self.cancelled = True
                self._release()

    def fail(self, error: BaseException) -> None:
        """End with an error. Errors that are not a RequestError are sent without details."""
        if not isinstance(error, RequestError):
            error = RequestError("the model failed on this request", code="internal_error", status=500)
        with self._lock:
            self._emit(Failed(error))


class RowWriter(Writer):
    """A `Writer` with separate settings for each row."""

    def __init__(self, model: Any, processor: CoDi2Processor, active_requests: Sequence[ActiveRequest]) -> None:
        settings = [active.request.settings for active in active_requests]
        options = [options_of(row_settings) for row_settings in settings]
        seeds = [row_settings.seed for row_settings in settings]
        super().__init__(model, processor, [active.conversation for active in active_requests], options[0], seeds)
        self.rows = {id(r): (o, s) for r, o, s in zip(self.replies, options, settings, strict=True)}
        for reply, option in zip(self.replies, options, strict=True):
            skeleton = option.skeleton()
            reply.skeleton = None if skeleton is None else list(skeleton)

    def _choose(self, reply: Reply, logits: torch.Tensor) -> int:
        """As in `Writer`, but a reply that would end without the required medium begins that medium instead."""
        self.options, settings = self.rows[id(reply)]
        required, logits = settings.required, penalised(logits, reply, settings)
        satisfied = required is None or any(medium.modality == required for medium in reply.media())
        if satisfied or reply.skeleton is not None:
            return super()._choose(reply, logits)
        assert required is not None
        begin = self.config.begin_id(required)
        if reply.room <= self.config.medium_tokens + 1:  # more text would leave no room for the medium
            return begin
        token = super()._choose(reply, logits)
        return begin if token == self.config.eos_token_id else token

    def decode_request(self, row: int, medium: ReplyMedium) -> DecodeRequest:
        """The decode request of a medium of the row."""
        options, _ = self.rows[id(self.replies[row])]
        number = next(n for n, other in enumerate(self.replies[row].media()) if other is medium)
        references = self._reference(medium.modality, [row])
        source = None
        if references is not None and bool(references.present[0].any()):
            source = Reference(references.media[0].cpu(), references.present[0].cpu())
        noise = self._generator(row, number).initial_seed()
        features, states = torch.stack(medium.features).cpu(), torch.stack(medium.states).cpu()
        return DecodeRequest(
            medium.modality,
            number,
            features,
            states,
            source,
            *options.sampling(self.config),
            noise,
            options.preview_every,
            options.upscale,
        )


def penalised(logits: torch.Tensor, reply: Reply, settings: Settings) -> torch.Tensor:
    """The logits with presence and frequency penalties for text tokens that the reply contains already."""
    if not settings.presence_penalty and not settings.frequency_penalty:
        return logits
    written = Counter(token for part in reply.parts if isinstance(part, list) for token in part)
    tokens = torch.tensor(list(written), dtype=torch.long, device=logits.device)
    times = torch.tensor(list(written.values()), dtype=logits.dtype, device=logits.device)
    lowered = logits.clone()
    lowered[tokens] -= settings.presence_penalty + settings.frequency_penalty * times
    return lowered


def options_of(settings: Settings) -> Options:
    return Options(
        modalities=settings.modalities,
        max_new_tokens=settings.max_tokens,
        steps=settings.steps,
        guidance=settings.guidance,
        temperature=settings.temperature,
        top_p=settings.top_p,
        preview_every=settings.preview_every,
        upscale=True,
    )
