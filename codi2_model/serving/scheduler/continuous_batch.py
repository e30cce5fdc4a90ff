"""Continuous batching: each step generates one token of every reply; requests join and leave between steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from codi2_model.generation.batch_state import Rows
from codi2_model.generation.decode_loop import Reply, ReplyMedium
from codi2_model.generation.events import MediumBegun, TextDelta
from codi2_model.generation.streaming import ReplyStreamer
from codi2_model.serving.openai.chat_response import Finished
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.scheduler.active_requests import ActiveRequest, RowWriter
from codi2_model.serving.scheduler.decode_requests import DecodeJob
from codi2_model.serving.scheduler.stop_sequences import StopFilter

log = logging.getLogger(__name__)
Decode = Callable[[DecodeJob], None]


@dataclass(frozen=True)
class BatchRow:
    """A request in the batch. Its reply is row `number` of `writer`."""

    active: ActiveRequest
    writer: RowWriter
    number: int
    streamer: ReplyStreamer
    stop_filter: StopFilter

    @property
    def over(self) -> bool:
        """Whether the reply is complete or has reached a stop sequence."""
        return self.streamer.over or self.stop_filter.stopped

    def news(self) -> Iterator[TextDelta | MediumBegun | ReplyMedium]:
        """The new events of the reply, up to the stop sequence."""
        for event in self.streamer.new_items():
            text = self.stop_filter.take(event.text) if isinstance(event, TextDelta) else self.stop_filter.flush()
            if text:
                yield TextDelta(text)
            if self.stop_filter.stopped:
                return
            if not isinstance(event, TextDelta):
                yield event
        if self.streamer.over and (text := self.stop_filter.flush()):
            yield TextDelta(text)

    @property
    def reply(self) -> Reply:
        return self.writer.replies[self.number]


class ContinuousBatch:
    """The batch of the language model. `decode` gets each medium as soon as its features are complete."""

    def __init__(self, model: Any, processor: Any, decode: Decode) -> None:
        self.model, self.processor, self.decode = model, processor, decode
        self.rows: list[BatchRow] = []
        self._state: Rows | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def join(self, active_requests: Sequence[ActiveRequest]) -> None:
        """Read the prompts of requests and add them to the batch. Sessions continue from their caches."""
        self._keep(self._staying())  # a cancelled row may hold the cache of a session that joins again
        try:
            for active in active_requests:
                if active.session is not None:
                    self._join([active])
            if together := [active for active in active_requests if active.session is None]:
                self._join(together)
        except Exception as error:
            for active in active_requests:
                active.fail(error)
            raise

    def _join(self, active_requests: Sequence[ActiveRequest]) -> None:
        try:
            writer = RowWriter(self.model, self.processor, active_requests)
        except ValueError as error:  # for example a medium that the processor refuses
            if len(active_requests) == 1:
                active_requests[0].fail(RequestError(str(error), "messages"))
                return
            for active in active_requests:
                self._join([active])
            return
        if (session := active_requests[0].session) is not None:
            writer.read = session.read
        read = writer.begin()
        self._state = read if self._state is None else self._state.join(read)
        slots = self.processor.config.feature_tokens
        for number, (active, reply) in enumerate(zip(active_requests, writer.replies, strict=True)):
            stop_filter = StopFilter(active.request.settings.stop)
            self.rows.append(BatchRow(active, writer, number, ReplyStreamer(self.processor, reply, slots), stop_filter))

    def step(self) -> None:
        """Generate one token of every reply and send its events. Complete and cancelled replies leave the batch."""
        assert self._state is not None
        logits = self._state.logits(self.model)
        chosen = [self._take(row, logits[n], self._state.hidden[n]) for n, row in enumerate(self.rows)]
        for row in self.rows:
            self._send_events(row)
        stay = self._staying()
        self._keep(stay)
        if self._state is not None:
            self._state = self._state.read(self.model, torch.stack([chosen[n] for n in stay]), [True] * len(stay))

    def _take(self, row: BatchRow, logits: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """The next token of a row. An error ends only its own request."""
        try:
            return row.writer.take(row.reply, logits, hidden)
        except Exception as error:
            log.exception("the generation of a reply failed")
            row.active.fail(error)
            return hidden  # not used: the row leaves the batch

    def _staying(self) -> list[int]:
        return [n for n, row in enumerate(self.rows) if not row.over and not row.active.gone]

    def _keep(self, places: list[int]) -> None:
        if not places:
            self.rows, self._state = [], None
        elif len(places) < len(self.rows) and self._state is not None:
            self.rows, self._state = [self.rows[n] for n in places], self._state.keep(places)

    def _send_events(self, row: BatchRow) -> None:
        active, reply = row.active, row.reply
        if active.gone:
            return
        for event in row.news():
            if isinstance(event, ReplyMedium):
                self.decode(DecodeJob(row.writer.decode_request(row.number, event), active))
            else:
                active.push(event)
        if not row.over:
            return
        cached = 0
        if active.session is not None:
            if not row.stop_filter.stopped:  # otherwise the cache has tokens after the stop sequence
                active.session.commit(reply)
            cached = active.prompt_tokens - active.session.tokens_read
        written = reply.text_tokens + self.processor.config.medium_tokens * len(reply.media())
        cut = reply.text_tokens >= active.request.settings.max_tokens and not row.stop_filter.stopped
        finish = "length" if cut else "stop"
        active.push(Finished(active.prompt_tokens, written, finish, cached))

    def fail(self, error: BaseException) -> None:
        """End all requests with an error."""
        for row in self.rows:
            row.active.fail(error)
        self.rows, self._state = [], None
