"""Conversations whose reading is kept: a turn that sends the whole conversation again is read from where it is new.

A session is only a memory of what was read. It is found by name, but used only as far as the messages sent are, word for
word and byte for byte, those that it has read: an edited or branched conversation is read anew from the change on, and
nobody can get at another's conversation by its name.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from codi2_model.generation.session import Session
from codi2_model.modeling import CoDi2ForConditionalGeneration
from codi2_model.processor import CoDi2Processor
from codi2_model.serving.openai.chat_response import content_to_json
from codi2_model.serving.openai.messages import mark
from codi2_model.serving.openai.protocol import RequestError


class CachedSession(Session):
    """A `Session` that knows its messages by what they say."""

    def __init__(self, model: CoDi2ForConditionalGeneration, processor: CoDi2Processor) -> None:
        super().__init__(model, processor)
        self.marks: list[str] = []
        self.busy = False

    def conversation(self, messages: Sequence[dict[str, Any]], marks: Sequence[str]) -> list[dict[str, Any]]:
        """The messages to read, those that were read before in the session's own form."""
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
        """A turn is whole: the messages it was asked with, and its reply, in which audio was sent in that format, are known from
        now on."""
        self.messages = [*messages, {"role": "assistant", "content": content}]
        self.marks = [*marks, mark("assistant", content_to_json(content, audio_format))]


class Sessions:
    """The sessions of a replica; the least recently used goes where there are too many."""

    def __init__(self, model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, most: int) -> None:
        self.model, self.processor, self.most = model, processor, most
        self._kept: OrderedDict[str, CachedSession] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, name: str) -> CachedSession:
        """The session of that name, new where there is none. Give it back by setting `busy` to False."""
        session = self._kept.pop(name, None) or CachedSession(self.model, self.processor)
        self._kept[name] = session
        if session.busy:
            raise RequestError("the session is answering another request: wait for it", "session", "busy", 409)
        session.busy = True
        for old in [key for key, kept in self._kept.items() if not kept.busy][: max(0, len(self._kept) - self.most)]:
            del self._kept[old]
        return session
