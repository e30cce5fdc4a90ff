"""The engine: a loaded model with its processor, which answers requests in batches. Independent of HTTP and Ray."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from codi2_model.checkpoints.registry import load_model
from codi2_model.serving.openai.chat_response import Finished, Reply
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.protocol import ChatRequest

DECODE_BATCH = 32


class Engine:
    """A loaded checkpoint. `write` is not thread-safe, but media can be decoded in other threads meanwhile."""

    def __init__(self, checkpoint: str | Path, model_id: str, threads: int | None = None) -> None:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self.model_id = model_id
        self.model, self.processor = load_model(checkpoint)
        self.modalities: tuple[str, ...] = tuple(self.model.config.modalities)

    def complete(self, requests: Sequence[ChatRequest]) -> list[Reply | RequestError]:
        """Answer the requests as one batch. Returns replies or errors in the order of the requests.

        An invalid request does not affect the others. A reply depends only on its own request and seed, up to the rounding
        of batched sums.
        """
        from codi2_model.serving.scheduler.active_requests import ActiveRequest
        from codi2_model.serving.scheduler.decode_requests import DecodeJob, run_jobs

        ends: dict[int, Any] = {}  # the last event of each request
        active_requests = [
            ActiveRequest(request, partial(ends.__setitem__, number)) for number, request in enumerate(requests)
        ]
        waiting: dict[tuple[Any, ...], list[DecodeJob]] = defaultdict(list)
        self.write(active_requests, lambda job: waiting[job.request.key()].append(job))
        for jobs in waiting.values():
            for start in range(0, len(jobs), DECODE_BATCH):
                run_jobs(self.model, jobs[start : start + DECODE_BATCH])
        return [
            _whole(active.builder.content, ends[n]) if isinstance(ends[n], Finished) else ends[n].error
            for n, active in enumerate(active_requests)
        ]

    def write(
        self,
        active_requests: Sequence[Any],
        decode: Callable[[Any], None],
        more: Callable[[int], Sequence[Any]] | None = None,
    ) -> None:
        """Generate the replies of requests in a continuous batch. `decode` gets each medium whose features are complete.

        `more` is called after each step with the number of rows, and returns requests that join. Ends when no row is left.
        """
        import torch

        from codi2_model.serving.scheduler.continuous_batch import ContinuousBatch

        batch = ContinuousBatch(self.model, self.processor, decode)
        try:
            with torch.no_grad():
                batch.join(self._fitting(active_requests))
                while len(batch):
                    batch.step()
                    if more is not None and (others := more(len(batch))):
                        batch.join(self._fitting(others))
        except Exception as error:
            batch.fail(error)
            raise

    def _fitting(self, active_requests: Sequence[Any]) -> list[Any]:
        """The requests whose prompts leave room for a reply. The others end with an error."""
        fitting = []
        for active in active_requests:
            try:
                active.prompt_tokens = self.prompt_tokens(active.conversation)
                fitting.append(active)
            except RequestError as error:
                active.fail(error)
        return fitting

    def prompt_tokens(self, messages: Sequence[dict[str, Any]]) -> int:
        """Number of tokens of the prompt, including feature slots. Raises RequestError if it leaves no room for a reply."""
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
