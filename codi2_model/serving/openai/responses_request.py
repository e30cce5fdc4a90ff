"""Parses requests of OpenAI's Responses API (`/v1/responses`) into the same `ChatRequest` as chat completions.

Replies contain only text and images, because the API has no audio or video output. Responses are kept in memory for an hour at
most, for `previous_response_id` and `item_reference`. Nothing else is stored; parameters that need it are refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from codi2_model.serving.http.media import Limits
from codi2_model.serving.openai.assistant_turns import Earlier
from codi2_model.serving.openai.content_models import Message, Part, text_part
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.messages import Fetch, Turn, read_turns
from codi2_model.serving.openai.protocol import ChatRequest, parse_object, settings_of
from codi2_model.serving.openai.request_models import (
    LARGEST,
    NO_LOGPROBS,
    NO_REASONING,
    TEXT_FORMAT,
    TOKENS,
    ImageOptions,
    ReplyBody,
)
from codi2_model.serving.openai.validation import Body, Fields, Items, ModelCard, Server, Text, only

IMAGE_TOOL = "image_generation"
OUTPUT = ("text", "image")
ECHOED = (
    "previous_response_id", "instructions", "max_output_tokens", "metadata", "user", "prompt_cache_key", "safety_identifier",
)  # fmt: skip


class Item(Message):
    """An item of a conversation. Items of type `reasoning` are ignored."""

    type: Literal["message", "image_generation_call", "reasoning", "item_reference"]
    result: Text = ""
    id: Text = ""

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, item: Any) -> Any:
        """The type may be missing. All other items than messages are of a reply."""
        if not isinstance(item, dict):
            return item
        kind = item.get("type") or ("message" if "role" in item else "item_reference" if "id" in item else None)
        return {**({} if kind == "message" else {"role": "assistant"}), **item, "type": kind}


class ImageTool(ImageOptions):
    """The tool of the Responses API that generates images."""

    type: Literal["image_generation"]
    model: Any = None
    action: Any = None
    size: Any = only("auto")
    output_format: Any = only("png")
    n: Any = only(1)


class TextOptions(Fields):
    format: Any = TEXT_FORMAT
    verbosity: Any = only("medium")


class Reasoning(Body):
    effort: Any = only("none", why=NO_REASONING)
    summary: Any = only("none", why=NO_REASONING)
    generate_summary: Any = only("none", why=NO_REASONING)


def _messages(value: Any) -> Any:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


class ResponsesBody(ReplyBody):
    """The body of `/v1/responses`."""

    input: Annotated[
        Items[Item],
        Field(min_length=1),
        BeforeValidator(_messages, json_schema_input_type=str | Annotated[list[dict[str, Any]], Field(min_length=1)]),
    ]
    instructions: Text = ""
    modalities: Items[Literal["text", "image"]] = Field([], min_length=1)
    max_output_tokens: int | None = Field(None, ge=1, le=LARGEST, description=TOKENS)
    tools: Items[ImageTool] = Field([])
    tool_choice: Any = Field("auto", description=f"auto, none, required, or one of the tools ({IMAGE_TOOL})")
    text: TextOptions = TextOptions()
    reasoning: Reasoning = Reasoning()
    previous_response_id: Text | None = None
    store: bool = True
    metadata: dict[str, Any] = Field({})
    stream_options: Any = None
    include: Any = None
    max_tool_calls: Any = None
    conversation: Any = only(why="conversations are not stored: send the whole conversation as input")
    background: Any = only(False)
    moderation: Any = only()
    prompt: Any = only(why="prompts are not stored: send the text as input")
    truncation: Any = only("auto", "disabled")
    top_logprobs: Any = only(0, why=NO_LOGPROBS)
    context_management: Any = only()

    @field_validator("metadata", "user", "prompt_cache_key", "safety_identifier", "tools")
    @classmethod
    def _repeatable(cls, value: Any) -> Any:
        """Lone surrogates could not be sent back."""
        try:
            json.dumps(value, ensure_ascii=False, default=lambda tool: tool.model_dump()).encode()
        except UnicodeEncodeError:
            raise ValueError("contains a lone surrogate, which is not valid Unicode") from None
        return value

    @model_validator(mode="after")
    def _chosen_tool(self) -> Self:
        if self.tool_choice not in ("auto", "none") and not (self.tools and self.image_required):
            raise RequestError(f"must be auto, none, or one of the tools ({IMAGE_TOOL})", "tool_choice")
        return self

    @property
    def image_required(self) -> bool:
        return self.tool_choice in ("required", {"type": IMAGE_TOOL}) or bool(self.modalities)


@dataclass(frozen=True)
class ResponsesRequest:
    """A validated request. `echo`: fields that the response repeats. `items`: the conversation before the reply."""

    chat: ChatRequest
    echo: dict[str, Any] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)

    @property
    def stored(self) -> bool:
        return bool(self.echo.get("store", True))


def parse_responses(
    body: bytes, model: ModelCard, limits: Limits, fetch: Fetch | None = None, earlier: Earlier = lambda _: None
) -> ResponsesRequest:
    """Parse a JSON body. `earlier`: returns the stored items of a response, or one item, by id.

    Raises RequestError with the name of the field at fault.
    """
    data, server = parse_object(body), Server(model, limits)
    request = ResponsesBody.parse(data, server)
    known = [name for name in OUTPUT if name in ("text", *model.has)]
    modalities: Sequence[str] = request.modalities or (["text"] if request.tool_choice == "none" else known)
    settings = settings_of(request, modalities, request.max_output_tokens, limits)
    if not request.image_required:
        settings = replace(settings, required=None)  # the model decides
    items = _items(request, earlier)
    chat = ChatRequest(read_turns(_turns(request, items), server, fetch), settings, request.stream)
    echo = {"temperature": settings.temperature, "top_p": settings.top_p, "store": request.store, **_echoed(data)}
    return ResponsesRequest(
        chat, echo, [item.model_dump(exclude_none=True, exclude_defaults=True) for _, item in items]
    )


def _echoed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that the response repeats."""
    fields = {name: data[name] for name in ECHOED if data.get(name) is not None}
    return fields | {"tools": data.get("tools") or [], "tool_choice": data.get("tool_choice") or "auto"}


def _items(request: ResponsesBody, earlier: Earlier) -> list[tuple[str, Item]]:
    """The items of the conversation, each with its field in the request. Those of the previous response come first."""
    before: list[dict[str, Any]] | None = []
    if request.previous_response_id is not None:
        before = earlier(request.previous_response_id)
        if before is None:
            raise _not_stored("previous_response_id", "response")
    items = [("previous_response_id", item) for item in map(Item.model_validate, before or ())]
    for n, item in enumerate(request.input):
        where = f"input[{n}]"
        if item.type == "item_reference":
            if not (stored := earlier(item.id)):
                raise _not_stored(f"{where}.id", "item")
            item = Item.model_validate(stored[0])
        items.append((where, item))
    return items


def _not_stored(where: str, what: str) -> RequestError:
    message = f"no {what} with this id is stored, or it has expired: send the whole conversation as input"
    return RequestError(message, where, "not_found", 404)


def _turns(request: ResponsesBody, items: list[tuple[str, Item]]) -> list[Turn]:
    turns = []
    if request.instructions:
        turns.append(Turn("system", [text_part(request.instructions)], "instructions"))
    for where, item in items:
        if item.type == "message":
            turn = Turn(item.role, item.content, where)
        elif item.type == "image_generation_call" and item.result:
            image = Part.model_validate({"type": "input_image", "image_url": f"data:image/png;base64,{item.result}"})
            turn = Turn("assistant", [image], where, [f"{where}.result"])
        else:
            continue
        if turns and turns[-1].role == turn.role == "assistant":  # items of one reply
            last = turns[-1]
            turns[-1] = Turn("assistant", [*last.content, *turn.content], last.where, [*last.places, *turn.places])
        else:
            turns.append(turn)
    return turns
