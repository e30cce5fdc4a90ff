"""Responses of `/v1/responses`: the complete `response` object, or the events of its stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codi2_model.generation.events import MediumBegun, MediumDone, Progress, TextDelta
from codi2_model.serving.openai.chat_response import Accepted, Answer, Failed, Finished, Reply, ServerEvent, sse
from codi2_model.serving.openai.generations import image_as
from codi2_model.serving.openai.responses_request import ResponsesRequest

Item = dict[str, Any]
FIXED: dict[str, Any] = {
    "background": False, "parallel_tool_calls": True, "previous_response_id": None, "service_tier": "default",
    "truncation": "disabled", "metadata": {}, "instructions": None, "max_output_tokens": None,
    "reasoning": {"effort": None, "summary": None}, "text": {"format": {"type": "text"}},
}  # fmt: skip


def response(reply: Reply, request: ResponsesRequest, head: Mapping[str, Any]) -> Answer:
    """A `response` object. `head`: id, created, model."""
    items: list[Item] = []
    for part in reply.content:
        identity = item_id(head, len(items), part["type"])
        items.append(message(identity, part["text"]) if part["type"] == "text" else image(identity, part["value"]))
    items = items or [message(item_id(head, 0, "text"), "")]
    return Answer(whole(request, head, items, ended(reply)), to_keep(request, head, items))


def to_keep(request: ResponsesRequest, head: Mapping[str, Any], items: list[Item]) -> dict[str, list[Item]]:
    """What is stored by id: the response with its conversation, and each of its items. Empty with `store: false`."""
    if not request.stored:
        return {}
    return {str(head["id"]): [*request.items, *items], **{item["id"]: [item] for item in items}}


def ended(reply: Reply) -> Finished:
    return Finished(reply.prompt_tokens, reply.completion_tokens, reply.finish_reason, reply.cached_tokens)


def whole(request: ResponsesRequest, head: Mapping[str, Any], items: list[Item], end: Finished | Failed | None) -> Item:
    """The `response` object with its items. `end`: the last event, None while the response is in progress."""
    body = {"id": head["id"], "object": "response", "created_at": head["created"], "model": head["model"]}
    body |= {**FIXED, **request.echo, "output": items, "error": None, "incomplete_details": None, "usage": None}
    if end is None:
        return {**body, "status": "in_progress"}
    if isinstance(end, Failed):
        error = end.error.to_json()["error"]
        return {**body, "status": "failed", "error": {"code": error["code"], "message": error["message"]}}
    body |= {"completed_at": head["created"], "usage": usage(end)}
    if end.finish_reason == "length":
        return {**body, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return {**body, "status": "completed"}


def usage(end: Finished) -> dict[str, Any]:
    return {
        "input_tokens": end.prompt_tokens,
        "input_tokens_details": {"cached_tokens": end.cached_tokens},
        "output_tokens": end.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": end.prompt_tokens + end.completion_tokens,
    }


def item_id(head: Mapping[str, Any], number: int, kind: str) -> str:
    return f"{'msg' if kind == 'text' else 'ig'}_{str(head['id']).partition('_')[2]}_{number}"


def message(identity: str, text: str | None, status: str = "completed") -> Item:
    """A text item. `text` None: it has no part yet."""
    content = [] if text is None else [text_part(text)]
    return {"id": identity, "type": "message", "role": "assistant", "status": status, "content": content}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def image(identity: str, value: Any, status: str = "completed") -> Item:
    """An image item. `value` None: the image is being generated."""
    result = None if value is None else image_as(value, "png")
    return {"id": identity, "type": "image_generation_call", "status": status, "result": result}


class ResponseWriter:
    """Writes the events of a streamed response."""

    def __init__(self, request: ResponsesRequest, head: Mapping[str, Any]) -> None:
        self.request, self.head = request, head
        self.items: list[Item] = []
        self._number = 0
        self._text: str | None = None
        """The text of the current message item; None between messages."""
        self._previews = 0

    def to_keep(self) -> dict[str, list[Item]]:
        return to_keep(self.request, self.head, self.items)

    def opening(self) -> list[str]:
        in_progress = whole(self.request, self.head, [], None)
        return [self._event(f"response.{name}", response=in_progress) for name in ("created", "in_progress")]

    def lines(self, event: ServerEvent) -> list[str]:
        if isinstance(event, TextDelta):
            return [*self._message_begun(), self._of_text("delta", delta=event.text, logprobs=[])]
        if isinstance(event, MediumBegun):
            return [*self._message_done(), *self._image_begun()]
        if isinstance(event, Progress):
            return [] if event.preview is None else [self._preview(event)]
        if isinstance(event, MediumDone):
            return self._image_done(event.value)
        return [] if isinstance(event, Accepted) else self._end(event)

    def _end(self, event: Finished | Failed) -> list[str]:
        if isinstance(event, Finished):
            opened = [] if self.items else self._message_begun()
            lines = [*opened, *self._message_done()]
            made = whole(self.request, self.head, self.items, event)
            return [*lines, self._event(f"response.{made['status']}", response=made)]
        error = event.error.to_json()["error"]
        about = {name: error[name] for name in ("code", "message", "param")}
        failed = self._event("response.failed", response=whole(self.request, self.head, self.items, event))
        return [self._event("error", **about), failed]

    def _message_begun(self) -> list[str]:
        if self._text is not None:
            return []
        self._text = ""
        added = self._item("added", message(self._id("text"), None, "in_progress"))
        return [added, self._of_part("added", text_part(""))]

    def _message_done(self) -> list[str]:
        if self._text is None:
            return []
        text, self._text = self._text, None
        lines = [self._of_text("done", text=text, logprobs=[]), self._of_part("done", text_part(text))]
        made = message(self._id("text"), text)
        lines.append(self._item("done", made))
        self.items.append(made)
        return lines

    def _image_begun(self) -> list[str]:
        self._previews = 0
        added = self._item("added", image(self._id("image"), None, "in_progress"))
        return [added, self._of_image("in_progress"), self._of_image("generating")]

    def _preview(self, event: Progress) -> str:
        self._previews += 1
        data = image_as(event.preview, "png")
        return self._of_image("partial_image", partial_image_b64=data, partial_image_index=self._previews - 1)

    def _image_done(self, value: Any) -> list[str]:
        made = image(self._id("image"), value)
        lines = [self._of_image("completed"), self._item("done", made)]
        self.items.append(made)
        return lines

    def _id(self, kind: str) -> str:
        return item_id(self.head, len(self.items), kind)

    def _item(self, what: str, item: Item) -> str:
        return self._event(f"response.output_item.{what}", output_index=len(self.items), item=item)

    def _of_part(self, what: str, part: dict[str, Any]) -> str:
        return self._event(f"response.content_part.{what}", **self._in_message(), part=part)

    def _of_text(self, what: str, **more: Any) -> str:
        if self._text is not None and what == "delta":
            self._text += more["delta"]
        return self._event(f"response.output_text.{what}", **self._in_message(), **more)

    def _in_message(self) -> dict[str, Any]:
        return {"item_id": self._id("text"), "output_index": len(self.items), "content_index": 0}

    def _of_image(self, what: str, **more: Any) -> str:
        about = {"item_id": self._id("image"), "output_index": len(self.items)}
        return self._event(f"response.image_generation_call.{what}", **about, **more)

    def _event(self, kind: str, **about: Any) -> str:
        self._number += 1
        return sse({"type": kind, "sequence_number": self._number - 1, **about}, event=kind)
