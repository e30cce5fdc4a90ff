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
from codi2_model.serving.openai.fields import RequestError
from codi2_model.serving.scheduler.active_requests import ActiveRequest, RowWriter
from codi2_model.serving.scheduler.decode_requests import DecodeJob
from codi2_model.serving.scheduler.stop_sequences import StopFilter

log = logging.getLogger(__name__)
Decode = Callable[[DecodeJob], None]


@dataclass(frozen=True)
class BatchRow:
    """A request in the batch. Its reply is row `number` of `writer`."""

    turn: ActiveRequest
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

    def join(self, turns: Sequence[ActiveRequest]) -> None:
        """Read the prompts of requests and add them to the batch. Sessions continue from their caches."""
        self._keep(self._staying())  # a cancelled row may hold the cache of a session that joins again
        try:
            for turn in turns:
                if turn.session is not None:
                    self._join([turn])
            if together := [turn for turn in turns if turn.session is None]:
                self._join(together)
        except Exception as error:
            for turn in turns:
                turn.fail(error)
            raise

    def _join(self, turns: Sequence[ActiveRequest]) -> None:
        try:
            writer = RowWriter(self.model, self.processor, turns)
        except ValueError as error:  # for example a medium that the processor refuses
            if len(turns) == 1:
                turns[0].fail(RequestError(str(error), "messages"))
                return
            for turn in turns:
                self._join([turn])
            return
        if (session := turns[0].session) is not None:
            writer.read = session.read
        read = writer.begin()
        self._state = read if self._state is None else self._state.join(read)
        slots = self.processor.config.feature_tokens
        for number, (turn, reply) in enumerate(zip(turns, writer.replies, strict=True)):
            stop_filter = StopFilter(turn.request.settings.stop)
            self.rows.append(BatchRow(turn, writer, number, ReplyStreamer(self.processor, reply, slots), stop_filter))

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
            row.turn.fail(error)
            return hidden  # not used: the row leaves the batch

    def _staying(self) -> list[int]:
        return [n for n, row in enumerate(self.rows) if not row.over and not row.turn.gone]

    def _keep(self, places: list[int]) -> None:
        if not places:
            self.rows, self._state = [], None
        elif len(places) < len(self.rows) and self._state is not None:
            self.rows, self._state = [self.rows[n] for n in places], self._state.keep(places)

    def _send_events(self, row: BatchRow) -> None:
        turn, reply = row.turn, row.reply
        if turn.gone:
            return
        for event in row.news():
            if isinstance(event, ReplyMedium):
                self.decode(DecodeJob(row.writer.order(row.number, event), turn))
            else:
                turn.push(event)
        if not row.over:
            return
        cached = 0
        if turn.session is not None:
            if not row.stop_filter.stopped:  # otherwise the cache has tokens after the stop sequence
                turn.session.commit(reply)
            cached = turn.prompt_tokens - turn.session.tokens_read
        written = reply.text_tokens + self.processor.config.medium_tokens * len(reply.media())
        cut = reply.text_tokens >= turn.request.settings.max_tokens and not row.stop_filter.stopped
        finish = "length" if cut else "stop"
        turn.push(Finished(turn.prompt_tokens, written, finish, cached))

    def fail(self, error: BaseException) -> None:
        """End all requests with an error."""
        for row in self.rows:
            row.turn.fail(error)
        self.rows, self._state = [], None
