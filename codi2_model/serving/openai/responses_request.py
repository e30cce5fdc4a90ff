"""Parses requests of OpenAI's Responses API (`/v1/responses`) into the same `ChatRequest` as chat completions.

Replies contain only text and images, because the API has no audio or video output. Responses are kept in memory for an hour at
most, for `previous_response_id` and `item_reference`. Nothing else is stored; parameters that need it are refused by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from codi2_model.serving.http.media import Limits
from codi2_model.serving.openai import unsupported
from codi2_model.serving.openai.assistant_turns import Earlier
from codi2_model.serving.openai.fields import RequestError, boolean, excerpt, listed, mapping, string
from codi2_model.serving.openai.messages import Fetch, read_messages
from codi2_model.serving.openai.protocol import (
    ChatRequest,
    ModelCard,
    check_model,
    known_fields,
    parse_object,
    parse_settings,
    token_limit,
)

FIELDS = (
    "model", "input", "instructions", "max_output_tokens", "temperature", "top_p", "stream", "stream_options", "text", "tools",
    "tool_choice", "reasoning", "previous_response_id", "store", "user", "seed", "steps", "guidance", "modalities", "preview_every",
)  # fmt: skip
OUTPUT = ("text", "image")
IMAGE_TOOL = "image_generation"
TOOL: dict[str, tuple[Any, ...]] = {  # accepted values of the tool's fields
    **unsupported.IMAGES, "size": ("auto",), "output_format": ("png",), "model": unsupported.ANY, "action": unsupported.ANY,
    "n": (1,),
}  # fmt: skip
TEXT_PARTS = ("input_text", "output_text")
ECHOED = (
    "previous_response_id",
    "instructions",
    "max_output_tokens",
    "metadata",
    "user",
    "prompt_cache_key",
    "safety_identifier",
)
_MESSAGE = re.compile(r"messages\[(\d+)\](?:\.content\[(\d+)\])?")


@dataclass(frozen=True)
class ResponsesRequest:
    """A validated request. `echo`: fields that the response repeats. `items`: the conversation before the reply."""

    chat: ChatRequest
    echo: dict[str, Any] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)

    @property
    def stored(self) -> bool:
        return bool(self.echo.get("store", True))


@dataclass
class InputMessage:
    """A message made of one or more items of the input. `where`: its field in the request, for errors."""

    role: Any
    content: Any
    where: str
    places: list[str] = field(default_factory=list)
    """The field of each part in the request."""


def parse_responses(
    body: bytes, model: ModelCard, limits: Limits, fetch: Fetch | None = None, earlier: Earlier = lambda _: None
) -> ResponsesRequest:
    """Parse a JSON body. `earlier`: returns the stored items of a response, or one item, by id.

    Raises RequestError with the name of the field at fault.
    """
    data = parse_object(body)
    known_fields(data, FIELDS, unsupported.RESPONSES)
    check_model(data, model)
    _check_text(data)
    _check_reasoning(data)
    settings = parse_settings({**data, "modalities": _modalities(data, model)}, limits, model.has)
    max_tokens = token_limit(data, "max_output_tokens", limits)
    settings = settings if max_tokens is None else replace(settings, max_tokens=max_tokens)
    if settings.required is not None and not _image_required(data):
        settings = replace(settings, required=None)  # the model decides
    items = _items(data, earlier)
    inputs = _input_messages(data, items, earlier)
    messages = [{"role": message.role, "content": message.content} for message in inputs]
    try:
        decoded, _ = read_messages(messages, limits, model.has, fetch)
    except RequestError as error:
        error.param = _field(error.param, inputs)
        raise
    echo = {"temperature": settings.temperature, "top_p": settings.top_p, **_echoed(data)}
    echo["store"] = data.get("store") is None or boolean(data, "store")
    conversation = [item for _, item in items]
    return ResponsesRequest(ChatRequest(decoded, settings, boolean(data, "stream")), echo, conversation)


def _echoed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that the response repeats."""
    mapping(data, "metadata")
    fields = {name: data[name] for name in ECHOED if data.get(name) is not None}
    fields |= {"tools": listed(data, "tools"), "tool_choice": data.get("tool_choice") or "auto"}
    for name, value in fields.items():
        string(json.dumps(value, ensure_ascii=False), name)  # lone surrogates could not be sent back
    return fields


def _check_text(data: Mapping[str, Any]) -> None:
    text = mapping(data, "text")
    form = text.get("format")
    if form is not None and form != {"type": "text"}:
        raise RequestError("this model supports only the format text", "text.format", "unsupported_parameter")
    if text.get("verbosity") not in (None, "medium"):
        raise RequestError('leave it out, or send "medium"', "text.verbosity", "unsupported_parameter")


def _check_reasoning(data: Mapping[str, Any]) -> None:
    for name, value in mapping(data, "reasoning").items():
        if value is not None and value != "none":
            message = unsupported.REASONS["reasoning_effort"]
            raise RequestError(message, f"reasoning.{excerpt(name, 40)}", "unsupported_parameter")


def _modalities(data: Mapping[str, Any], model: ModelCard) -> list[str]:
    """The allowed modalities of the reply; text and images by default."""
    _check_tools(data)
    known = [name for name in OUTPUT if name in ("text", *model.has)]
    if data.get("modalities") is None:
        return ["text"] if data.get("tool_choice") == "none" else known
    modalities = data["modalities"]
    if (
        not isinstance(modalities, list)
        or not modalities
        or not all(isinstance(name, str) and name in known for name in modalities)
    ):
        message = f"must be a list with any of {', '.join(known)}; /v1/chat/completions supports more"
        raise RequestError(message, "modalities")
    return modalities


def _check_tools(data: Mapping[str, Any]) -> None:
    tools = listed(data, "tools")
    for n, tool in enumerate(tools):
        if not isinstance(tool, dict) or tool.get("type") != IMAGE_TOOL:
            raise RequestError(f"the only supported tool is {IMAGE_TOOL}", f"tools[{n}]", "unsupported_parameter")
        try:
            known_fields(tool, ("type",), TOOL)
        except RequestError as error:
            error.param = f"tools[{n}].{error.param}"
            raise
    choice = data.get("tool_choice")
    if choice not in (None, "auto", "none") and not (tools and _image_required(data)):
        raise RequestError(f"must be auto, none, or one of the tools ({IMAGE_TOOL})", "tool_choice")


def _image_required(data: Mapping[str, Any]) -> bool:
    """Whether the reply must contain an image."""
    choice = data.get("tool_choice")
    return choice == "required" or choice == {"type": IMAGE_TOOL} or data.get("modalities") is not None


def _items(data: Mapping[str, Any], earlier: Earlier) -> list[tuple[str, Any]]:
    """The items of the conversation, each with its field in the request. Those of the previous response come first."""
    before: list[dict[str, Any]] | None = []
    if data.get("previous_response_id") is not None:
        before = earlier(string(data["previous_response_id"], "previous_response_id"))
        if before is None:
            raise _not_stored("previous_response_id", "response")
    value = data.get("input")
    if isinstance(value, str):
        new = [("input", {"role": "user", "content": value})]
    elif isinstance(value, list) and value:
        new = [(f"input[{n}]", item) for n, item in enumerate(value)]
    else:
        raise RequestError("must be a string or a list of items", "input", "missing_required_parameter")
    return [*(("previous_response_id", item) for item in before or ()), *new]


def _not_stored(where: str, what: str) -> RequestError:
    message = f"no {what} with this id is stored, or it has expired: send the whole conversation as input"
    return RequestError(message, where, "not_found", 404)


def _input_messages(data: Mapping[str, Any], items: list[tuple[str, Any]], earlier: Earlier) -> list[InputMessage]:
    messages: list[InputMessage] = []
    instructions = "" if data.get("instructions") is None else string(data["instructions"], "instructions")
    if instructions:
        messages.append(InputMessage("system", instructions, "instructions"))
    for where, item in items:
        message = _input_message(item, where, earlier)
        if message is None:
            continue
        last = messages[-1] if messages else None
        if last is not None and last.role == message.role == "assistant":  # items of one reply
            last.content, last.places = [*last.content, *message.content], [*last.places, *message.places]
        else:
            messages.append(message)
    return messages


def _input_message(item: Any, where: str, earlier: Earlier) -> InputMessage | None:
    """An item as a message; None for an item that the model does not use."""
    if not isinstance(item, dict):
        raise RequestError("must be an object", where)
    kind = item.get("type") or ("message" if "role" in item else "item_reference" if "id" in item else None)
    if kind == "message":
        return _message(item, where)
    if kind == "image_generation_call":
        result = item.get("result")
        if not result:
            return None
        url = f"data:image/png;base64,{string(result, f'{where}.result')}"
        return InputMessage("assistant", [{"type": "image_url", "image_url": {"url": url}}], where, [f"{where}.result"])
    if kind == "reasoning":
        return None
    if kind == "item_reference":
        kept = earlier(string(item.get("id"), f"{where}.id"))
        if not kept or kept[0].get("type") == kind:
            raise _not_stored(f"{where}.id", "item")
        return _input_message(kept[0], where, earlier)
    raise RequestError(f"items of type {excerpt(repr(kind), 40)} are not supported", f"{where}.type", "unsupported")


def _message(item: Mapping[str, Any], where: str) -> InputMessage:
    role, content = item.get("role"), item.get("content")
    if isinstance(content, str) and role == "assistant":
        content = [{"type": "text", "text": content}] if content else []
    elif content is None and role == "assistant":
        content = []
    if not isinstance(content, list):
        return InputMessage(role, content, where)
    places = [f"{where}.content[{k}]" for k in range(len(content))]
    return InputMessage(role, [_part(part) for part in content], where, places)


def _part(part: Any) -> Any:
    """A part in the format of chat completions. Unknown types are refused there."""
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if kind in TEXT_PARTS:
        return {"type": "text", "text": part.get("text")}
    if kind == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url")}}
    if kind == "input_file":
        return {"type": "file", "file": {name: part[name] for name in ("file_data", "file_id") if name in part}}
    return part


def _field(param: str | None, messages: list[InputMessage]) -> str | None:
    """The field of the request for a field name (`param`) of chat completions."""
    match = _MESSAGE.match(param or "")
    if match is None:
        return "input" if param == "messages" else param
    message, rest = messages[int(match[1])], (param or "")[match.end() :]
    if match[2] is None:
        return message.where + rest
    place = message.places[int(match[2])] if message.places else message.where
    return place if place.endswith(".result") else place + rest.removesuffix(".url")
