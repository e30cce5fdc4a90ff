"""What is new in a reply while it is written, for those who listen: words as they come, media as they begin and end."""

from __future__ import annotations

from collections.abc import Iterator

from codi2_model.generation.decode_loop import Medium, Reply
from codi2_model.generation.events import MediumBegun, TextDelta
from codi2_model.processor import CoDi2Processor


class Teller:
    """Tells what is new in a reply since it was last asked."""

    def __init__(self, processor: CoDi2Processor, reply: Reply, slots: int) -> None:
        self.processor, self.reply, self.slots = processor, reply, slots
        self.over = False
        self._at = 0  # the part that is being told
        self._said = ""

    def news(self) -> Iterator[TextDelta | MediumBegun | Medium]:
        """New words, a medium begun, a medium whose features are whole: in order."""
        parts = self.reply.parts
        while self._at < len(parts):
            part = parts[self._at]
            closed = self._at < len(parts) - 1  # others have followed
            if isinstance(part, Medium):
                if not self._said:
                    self._said = "begun"
                    yield MediumBegun(sum(isinstance(p, Medium) for p in parts[: self._at]), part.modality)
                if len(part.features) < self.slots:
                    break
                yield part
            else:
                yield from self._words(part, closed or self.reply.done)
                if not closed:
                    break
            self._at, self._said = self._at + 1, ""
        self.over = self.reply.done

    def _words(self, part: list[int], closed: bool) -> Iterator[TextDelta]:
        text = self.processor.decode(part)
        # half a character (bytes that do not yet decode) waits for its rest
        if (closed or not text.endswith("\ufffd")) and len(text) > len(self._said):
            yield TextDelta(text[len(self._said) :])
            self._said = text
