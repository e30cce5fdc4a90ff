"""Holds the model and its processor, and answers batches of requests. Knows neither HTTP nor Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codi2_model.serving.protocol import ChatRequest, Reply, RequestError, Settings


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

    def complete(self, requests: list[ChatRequest]) -> list[Reply | RequestError]:
        """Answer every request; those with equal settings are generated together. A request at fault gets its error."""
        replies: list[Reply | RequestError | None] = [None] * len(requests)
        groups: dict[Settings, list[int]] = {}
        counts: dict[int, int] = {}
        for n, request in enumerate(requests):
            try:
                counts[n] = self.count(request.messages)
            except ValueError as error:
                replies[n] = RequestError(str(error), "messages", "context_length_exceeded")
                continue
            groups.setdefault(request.settings, []).append(n)
        for settings, members in groups.items():
            contents = self._generate([requests[n].messages for n in members], settings)
            for n, content in zip(members, contents, strict=True):
                written = self.count([{"role": "assistant", "content": content}]) if content else 0
                finish = "length" if written >= settings.max_tokens else "stop"
                replies[n] = Reply(content, counts[n], written, finish)
        return [reply for reply in replies if reply is not None]

    def count(self, messages: list[dict[str, Any]]) -> int:
        """Tokens of messages, feature slots included. Raises ValueError where they do not fit the model."""
        return int(self.processor([messages])["attention_mask"].sum())

    def _generate(self, conversations: list[list[dict[str, Any]]], settings: Settings) -> list[list[dict[str, Any]]]:
        from codi2_model.generation import generate

        return generate(
            self.model, self.processor, conversations, modalities=settings.modalities, seed=settings.seed,
            steps=settings.steps, guidance=settings.guidance, max_new_tokens=settings.max_tokens,
            temperature=settings.temperature, top_p=settings.top_p,
        )  # fmt: skip
