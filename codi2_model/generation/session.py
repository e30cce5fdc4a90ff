"""Sessions: multi-turn conversations that reuse the key-value cache, so each turn processes only new tokens.

Generated media stay in the history as the features that the model predicted, not as features of the decoded media.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from codi2_model.generation.conversations import events, parse_options
from codi2_model.generation.decode_loop import Content, Reply, Writer, content_of
from codi2_model.generation.events import Event
from codi2_model.modules.slots import media_of
from codi2_model.processor import CoDi2Processor

if TYPE_CHECKING:
    from codi2_model.modeling import CoDi2ForConditionalGeneration


class Session:
    """A conversation with a model. Not thread-safe."""

    def __init__(self, model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, system: str = "") -> None:
        self.model, self.processor = model, processor
        self.messages: list[dict[str, Any]] = []
        if system:
            self.messages.append({"role": "system", "content": [{"type": "text", "text": system}]})
        self._first_turn = len(self.messages)
        self.tokens_read = 0
        """Number of prompt tokens processed in the last turn, without those in the cache."""
        self._ids: list[int] = []
        self._cache: Any = None
        self._features: dict[str, list[torch.Tensor]] = {}

    def reply(self, content: str | Sequence[dict[str, Any]], *, seed: int = 0, **options: Any) -> Content:
        """Send a user message (text, or parts whose media have a `value`). Returns the parts of the reply.

        Options as in `Options`.
        """
        for _ in self.stream(content, seed=seed, **options):
            pass
        return list(self.messages[-1]["content"])

    @torch.no_grad()
    def stream(self, content: str | Sequence[dict[str, Any]], *, seed: int = 0, **options: Any) -> Iterator[Event]:
        """As `reply`, as a stream of events. If the stream fails or is closed early, the turn is removed."""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        self.messages.append({"role": "user", "content": parts})
        try:
            writer = Writer(self.model, self.processor, [self.messages], parse_options(options), [seed])
            writer.read = self.read
            yield from events(writer)
        except BaseException:
            self.rewind(len(self.messages) - 1)
            raise
        reply = writer.replies[0]
        self.commit(reply)
        self.messages.append({"role": "assistant", "content": content_of(self.processor, reply)})

    def restart(self) -> None:
        """Restart the conversation after the system message."""
        self.rewind(self._first_turn)

    def rewind(self, count: int) -> None:
        """Remove all but the first `count` messages, also from the cache."""
        self.messages = self.messages[:count]
        ids = self.processor.layout(self.messages, "the session").ids if self.messages else []
        self._ids = self._ids[: common_prefix(self._ids, ids)]
        parts = [part["type"] for message in self.messages for part in message["content"]]
        self._features = {name: rows[: parts.count(name)] for name, rows in self._features.items()}

    def commit(self, reply: Reply) -> None:
        """Record a generated reply, whose tokens in the cache are not processed again."""
        self._ids = (self._ids + reply.written)[: self._cache.get_seq_length()]
        for medium in reply.media():
            earlier = self._features.get(medium.modality, [])
            self._features[medium.modality] = [*earlier, torch.stack(medium.features)]

    def read(self, batch: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Prefill of a prompt: last hidden state (1, H), cache. Processes only tokens that are not in the cache."""
        ids = batch["input_ids"][0].tolist()
        cached = min(common_prefix(ids, self._ids), len(ids) - 1)
        features = self._all_features(batch)
        embeddings = self.model.embed(
            batch["input_ids"], media_of(batch), features, batch, self.model.read_texts(batch)
        )[:, cached:]
        if self._cache is not None:
            self._cache.crop(cached - self._cache.get_seq_length())
        states = self.model.llm.model(
            inputs_embeds=embeddings,
            attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=embeddings.device),
            position_ids=torch.arange(cached, len(ids), device=embeddings.device)[None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self._ids, self._cache, self.tokens_read = ids, states.past_key_values, len(ids) - cached
        self._features = {modality: list(values) for modality, values in features.items()}
        return states.last_hidden_state[:, -1], self._cache

    def _all_features(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """modality -> features (N, slots, D) of all media: stored ones, and encoder features of new media."""
        features = {}
        for group in media_of(batch):
            stored = self._features.get(group.modality, [])[: len(group.media)]
            new = group.media[len(stored) :]
            rows = list(self.model.encoders.features(group.modality, new)) if len(new) else []
            features[group.modality] = torch.stack([*stored, *rows])
        return features


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the common prefix of two token sequences."""
    for number, (token, other) in enumerate(zip(left, right, strict=False)):
        if token != other:
            return number
    return min(len(left), len(right))
