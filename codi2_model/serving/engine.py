"""Holds the model and its processor, and answers batches of requests. Knows neither HTTP nor Ray."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codi2_model.serving.protocol import ChatRequest, Reply, RequestError, Settings

Content = list[dict[str, Any]]


class Engine:
    """A checkpoint ready to answer. Not safe for threads: one call of `complete` at a time."""

    def __init__(self, checkpoint: str | Path, model_id: str, threads: int | None = None) -> None:
        import torch

        from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

        if threads is not None:
            torch.set_num_threads(threads)
        self.model_id = model_id
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = CoDi2ForConditionalGeneration.from_pretrained(checkpoint).eval().to(device)
        self.processor = CoDi2Processor.from_pretrained(checkpoint)

    def complete(self, requests: Sequence[ChatRequest]) -> list[Reply | RequestError]:
        """Answer every request, in order; those with like settings are generated together.

        A request at fault gets its error and leaves the others alone. A reply depends on its own request and seed, not on
        what else is in the batch (up to the rounding of batched sums).
        """
        replies: dict[int, Reply | RequestError] = {}
        counts: dict[int, int] = {}
        groups: dict[Settings, list[int]] = defaultdict(list)
        for n, request in enumerate(requests):
            try:
                counts[n] = self._prompt_tokens(request)
                groups[replace(request.settings, seed=0)].append(n)
            except RequestError as error:
                replies[n] = error
        for members in groups.values():
            for n, content in zip(members, self._contents([requests[n] for n in members]), strict=True):
                if isinstance(content, RequestError):
                    replies[n] = content
                    continue
                written = self._written(content)
                finish = "length" if written >= requests[n].settings.max_tokens else "stop"
                replies[n] = Reply(content, counts[n], written, finish)
        return [replies[n] for n in range(len(requests))]

    def _prompt_tokens(self, request: ChatRequest) -> int:
        """Tokens of the prompt, feature slots included. Raises RequestError where it leaves no room for a reply."""
        config = self.processor.config
        try:
            count = len(self.processor.layout(request.messages, "the conversation", prompt=True).ids)
        except ValueError as error:
            raise RequestError(str(error), "messages", "context_length_exceeded") from error
        if count + config.feature_tokens + 4 > config.max_length:
            message = f"the conversation has {count} tokens and leaves no room for a reply within {config.max_length}"
            raise RequestError(message, "messages", "context_length_exceeded")
        return count

    def _contents(self, requests: Sequence[ChatRequest]) -> list[Content | RequestError]:
        """The replies to requests of like settings. What fails for all together is tried one by one."""
        try:
            contents = self._generate(requests)
        except ValueError as error:  # a medium that the processor refuses, say
            if len(requests) == 1:
                return [RequestError(str(error), "messages")]
            return [content for request in requests for content in self._contents([request])]
        required = requests[0].settings.required
        return [
            content
            if required is None or any(part["type"] == required for part in content)
            else self._generate([request], ("text", required))[0]
            for request, content in zip(requests, contents, strict=True)
        ]

    def _generate(self, requests: Sequence[ChatRequest], force: tuple[str, ...] | None = None) -> list[Content]:
        """With `force`, the reply has these parts in this order; its text then leaves room for the medium."""
        from codi2_model.generation import generate

        settings, config = requests[0].settings, self.processor.config
        tokens = settings.max_tokens
        if force is not None:
            room = config.max_length - max(self._prompt_tokens(request) for request in requests)
            tokens = max(0, min(tokens, room - config.feature_tokens - 4))
        return generate(
            self.model, self.processor, [request.messages for request in requests], modalities=settings.modalities,
            seed=[request.settings.seed for request in requests], steps=settings.steps, guidance=settings.guidance,
            max_new_tokens=tokens, temperature=settings.temperature, top_p=settings.top_p, force=force,
        )  # fmt: skip

    def _written(self, content: Content) -> int:
        """Tokens of a reply: its words, and for each medium the begin, the feature slots and the end."""
        medium = self.processor.config.feature_tokens + 2
        return sum(len(self.processor.encode_text(p["text"])) if p["type"] == "text" else medium for p in content)
