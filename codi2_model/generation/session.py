"""A conversation that goes on: each turn reads only what is new, over the key-value cache of the turns before.

The model's own media stay in the history as the features it wrote, in the coordinates that they were fed back in, not as
what an encoder would read off the decoded picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from codi2_model.generation.conversations import events, options_of
from codi2_model.generation.decode_loop import Content, Reply, Writer, content_of
from codi2_model.generation.events import Event
from codi2_model.modeling import CoDi2ForConditionalGeneration, media_of
from codi2_model.processor import CoDi2Processor


class Session:
    """One conversation with a model. Not safe for threads."""

    def __init__(self, model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, system: str = "") -> None:
        self.model, self.processor = model, processor
        self.messages: list[dict[str, Any]] = []
        if system:
            self.messages.append({"role": "system", "content": [{"type": "text", "text": system}]})
        self._begun = len(self.messages)
        self.tokens_read = 0
        """Tokens that the last turn's prompt cost."""
        self._ids: list[int] = []
        self._cache: Any = None
        self._features: dict[str, list[torch.Tensor]] = {}

    def reply(self, content: str | Sequence[dict[str, Any]], *, seed: int = 0, **options: Any) -> Content:
        """Say something (a text, or parts whose media carry a `value`); the reply's parts. Options as in `Options`."""
        for _ in self.stream(content, seed=seed, **options):
            pass
        return list(self.messages[-1]["content"])

    @torch.no_grad()
    def stream(self, content: str | Sequence[dict[str, Any]], *, seed: int = 0, **options: Any) -> Iterator[Event]:
        """As `reply`, in events as they happen. Given up halfway, or failed, the turn counts as never said."""
        said = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        self.messages.append({"role": "user", "content": said})
        try:
            writer = Writer(self.model, self.processor, [self.messages], options_of(options), [seed])
            writer.read = self.read
            yield from events(writer)
        except BaseException:
            self.rewind(len(self.messages) - 1)
            raise
        reply = writer.replies[0]
        self.wrote(reply)
        self.messages.append({"role": "assistant", "content": content_of(self.processor, reply)})

    def restart(self) -> None:
        """Begin the conversation again."""
        self.rewind(self._begun)

    def rewind(self, count: int) -> None:
        """Forget all but the first messages. What a turn given up halfway has left in the cache goes as well."""
        self.messages = self.messages[:count]
        ids = self.processor.layout(self.messages, "the session").ids if self.messages else []
        self._ids = self._ids[: common_prefix(self._ids, ids)]
        parts = [part["type"] for message in self.messages for part in message["content"]]
        self._features = {name: rows[: parts.count(name)] for name, rows in self._features.items()}

    def wrote(self, reply: Reply) -> None:
        """The language model has written a reply: as far as the cache holds it, it need not be read again."""
        self._ids = (self._ids + reply.written)[: self._cache.get_seq_length()]
        for medium in reply.media():
            known = self._features.get(medium.modality, [])
            self._features[medium.modality] = [*known, torch.stack(medium.features)]

    def read(self, batch: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """The prompt's last hidden state (1, H) and the cache; tokens that the cache holds already are not read again."""
        ids = batch["input_ids"][0].tolist()
        known = min(common_prefix(ids, self._ids), len(ids) - 1)
        features = self._all_features(batch)
        embeddings = self.model.embed(
            batch["input_ids"], media_of(batch), features, batch, self.model.read_texts(batch)
        )[:, known:]
        if self._cache is not None:
            self._cache.crop(known - self._cache.get_seq_length())
        states = self.model.llm.model(
            inputs_embeds=embeddings,
            attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=embeddings.device),
            position_ids=torch.arange(known, len(ids), device=embeddings.device)[None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self._ids, self._cache, self.tokens_read = ids, states.past_key_values, len(ids) - known
        self._features = {modality: list(values) for modality, values in features.items()}
        return states.last_hidden_state[:, -1], self._cache

    def _all_features(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """modality -> features (N, slots, D) of the conversation's media: known ones, then those that encoders give."""
        found = {}
        for group in media_of(batch):
            known = self._features.get(group.modality, [])[: len(group.media)]
            new = group.media[len(known) :]
            rows = list(self.model.encoders.features(group.modality, new)) if len(new) else []
            found[group.modality] = torch.stack([*known, *rows])
        return found


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two sequences begin with in common."""
    for number, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return number
    return min(len(left), len(right))
