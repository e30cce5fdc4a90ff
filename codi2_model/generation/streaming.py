"""Streaming of a reply: the new text and media since the last call."""

from __future__ import annotations

from collections.abc import Iterator

from codi2_model.generation.decode_loop import Reply, ReplyMedium
from codi2_model.generation.events import MediumBegun, TextDelta
from codi2_model.processor import CoDi2Processor


class ReplyStreamer:
    """Reports the new content of a reply. `over`: the whole reply has been reported."""

    def __init__(self, processor: CoDi2Processor, reply: Reply, slots: int) -> None:
        self.processor, self.reply, self.slots = processor, reply, slots
        self.over = False
        self._position = 0  # index of the part that is reported next
        self._reported = ""  # its text reported so far; of a medium "begun"

    def new_items(self) -> Iterator[TextDelta | MediumBegun | ReplyMedium]:
        """New content in order: text, begun media, and media whose features are complete."""
        parts = self.reply.parts
        while self._position < len(parts):
            part = parts[self._position]
            closed = self._position < len(parts) - 1
            if isinstance(part, ReplyMedium):
                if not self._reported:
                    self._reported = "begun"
                    yield MediumBegun(sum(isinstance(p, ReplyMedium) for p in parts[: self._position]), part.modality)
                if len(part.features) < self.slots:
                    break
                yield part
            else:
                yield from self._new_text(part, closed or self.reply.done)
                if not closed:
                    break
            self._position, self._reported = self._position + 1, ""
        self.over = self.reply.done

    def _new_text(self, part: list[int], closed: bool) -> Iterator[TextDelta]:
        text = self.processor.decode(part)
        # incomplete characters (bytes that do not decode yet) are held back
        if (closed or not text.endswith("\ufffd")) and len(text) > len(self._reported):
            yield TextDelta(text[len(self._reported) :])
            self._reported = text
