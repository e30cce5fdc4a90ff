"""Sessions: key-value caches of conversations, so that only the new messages of a conversation are read.

A request still has the whole conversation. The cache of the session with its name is used as far as the messages are byte for
byte the same; after that they are read again, for example in an edited or branched conversation. Therefore a client cannot
read another's conversation by its name.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from codi2_model.generation.session import Session
from codi2_model.modeling import CoDi2ForConditionalGeneration
from codi2_model.processor import CoDi2Processor
from codi2_model.serving.openai.chat_response import content_to_json
from codi2_model.serving.openai.content_models import Part, mark
from codi2_model.serving.openai.errors import RequestError


class CachedSession(Session):
    """A `Session` that compares messages by their hashes."""

    def __init__(self, model: CoDi2ForConditionalGeneration, processor: CoDi2Processor) -> None:
        super().__init__(model, processor)
        self.marks: list[str] = []
        self.busy = False

    def conversation(self, messages: Sequence[dict[str, Any]], marks: Sequence[str]) -> list[dict[str, Any]]:
        """The messages for the model. Messages that the cache has are those of the session."""
        known = 0
        while known < min(len(self.marks), len(marks) - 1) and self.marks[known] == marks[known]:
            known += 1
        self.marks = self.marks[:known]
        self.rewind(known)
        return [*self.messages, *messages[known:]]

    def keep(
        self,
        messages: Sequence[dict[str, Any]],
        marks: Sequence[str],
        content: list[dict[str, Any]],
        audio_format: str = "wav",
    ) -> None:
        """Record the messages of a request and its reply. `audio_format`: format of the reply's audio, which is hashed."""
        self.messages = [*messages, {"role": "assistant", "content": content}]
        self.marks = [*marks, mark("assistant", list(map(Part.model_validate, content_to_json(content, audio_format))))]


class Sessions:
    """The sessions of a replica. If there are more than `most`, the least recently used ones are evicted."""

    def __init__(self, model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, most: int) -> None:
        self.model, self.processor, self.most = model, processor, most
        self._kept: OrderedDict[str, CachedSession] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, name: str) -> CachedSession:
        """The session with this name, created on first use. Release it by setting `busy` to False.

        Raises RequestError if it is busy.
        """
        session = self._kept.pop(name, None) or CachedSession(self.model, self.processor)
        self._kept[name] = session
        if session.busy:
            raise RequestError("the session is answering another request: wait for it", "session", "busy", 409)
        session.busy = True
        for old in [key for key, kept in self._kept.items() if not kept.busy][: max(0, len(self._kept) - self.most)]:
            del self._kept[old]
        return session
