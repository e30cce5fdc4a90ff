"""Holds the model and its processor, and answers requests together. Knows neither HTTP nor Ray."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from codi2_model.checkpoints.registry import load_model
from codi2_model.serving.openai.chat_response import Finished, Reply
from codi2_model.serving.openai.protocol import ChatRequest, RequestError

DECODE_BATCH = 32


class Engine:
    """A checkpoint ready to answer. `write` is not safe for threads; decoding beside it is."""

    def __init__(self, checkpoint: str | Path, model_id: str, threads: int | None = None) -> None:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self.model_id = model_id
        self.model, self.processor = load_model(checkpoint)
        self.modalities: tuple[str, ...] = tuple(self.model.config.modalities)

    def complete(self, requests: Sequence[ChatRequest]) -> list[Reply | RequestError]:
        """Answer every request, in order, as one batch.

        A request at fault gets its error and leaves the others alone. A reply depends on its own request and seed, not on
        what else is in the batch (up to the rounding of batched sums).
        """
        from codi2_model.serving.scheduler.active_requests import ActiveRequest
        from codi2_model.serving.scheduler.decode_requests import DecodeJob, run_jobs

        ends: dict[int, Any] = {}
        turns = [
            ActiveRequest(request, lambda event, n=n: ends.__setitem__(n, event)) for n, request in enumerate(requests)
        ]  # type: ignore[misc]
        waiting: dict[tuple[Any, ...], list[DecodeJob]] = defaultdict(list)
        self.write(turns, lambda job: waiting[job.order.key()].append(job))
        for jobs in waiting.values():
            for start in range(0, len(jobs), DECODE_BATCH):
                run_jobs(self.model, jobs[start : start + DECODE_BATCH])
        return [
            _whole(turn.gathering.content, ends[n]) if isinstance(ends[n], Finished) else ends[n].error
            for n, turn in enumerate(turns)
        ]

    def write(
        self, turns: Sequence[Any], decode: Callable[[Any], None], more: Callable[[int], Sequence[Any]] | None = None
    ) -> None:
        """Write the replies of turns together; `decode` gets each medium as soon as its features are whole.

        `more`, told how many rows are being written, gives the turns that join them; it ends when none are left.
        """
        import torch

        from codi2_model.serving.scheduler.continuous_batch import ContinuousBatch

        running = ContinuousBatch(self.model, self.processor, decode)
        try:
            with torch.no_grad():
                running.join(self._good(turns))
                while len(running):
                    running.step()
                    if more is not None and (others := more(len(running))):
                        running.join(self._good(others))
        except Exception as error:
            running.fail(error)
            raise

    def _good(self, turns: Sequence[Any]) -> list[Any]:
        """The turns whose prompts leave room for a reply; the others are told."""
        good = []
        for turn in turns:
            try:
                turn.prompt_tokens = self.prompt_tokens(turn.conversation)
                good.append(turn)
            except RequestError as error:
                turn.fail(error)
        return good

    def prompt_tokens(self, messages: Sequence[dict[str, Any]]) -> int:
        """Tokens of the prompt, feature slots included. Raises RequestError where it leaves no room for a reply."""
        config = self.processor.config
        try:
            count = len(self.processor.layout(messages, "the conversation", prompt=True).ids)
        except ValueError as error:
            raise RequestError(str(error), "messages", "context_length_exceeded") from error
        if count + config.medium_tokens + 2 > config.max_length:
            message = f"the conversation has {count} tokens and leaves no room for a reply within {config.max_length}"
            raise RequestError(message, "messages", "context_length_exceeded")
        return count


def _whole(content: list[dict[str, Any]], end: Finished) -> Reply:
    return Reply(content, end.prompt_tokens, end.completion_tokens, end.finish_reason, end.cached_tokens)
