"""Pydantic models of the bodies of requests. They check a request, and OpenAPI describes it by them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    field_validator,
)

from codi2_model.serving.http.media import Limits
from codi2_model.serving.openai import audio_output
from codi2_model.serving.openai.content_models import NO_TOOLS, Message
from codi2_model.serving.openai.errors import RequestError, excerpt
from codi2_model.serving.openai.validation import Body, Fields, Items, Text, only

LARGEST = 2**63 - 1
TOKENS = f"Maximum number of text tokens of the reply; at most {Limits.new_tokens} are generated."
NO_LOGPROBS = "token probabilities are not supported"
TEXT_FORMAT: Any = only({"type": "text"}, why="this model supports only the format text")
NO_REASONING = "this model does not reason before it replies"


def _audio_format(name: str) -> str:
    if (form := audio_output.ALIASES.get(name, name)) not in audio_output.FORMATS:
        raise ValueError(f"{excerpt(repr(name), 40)} is not one of {', '.join(audio_output.FORMATS)}")
    return form


AudioFormat = Annotated[
    str,
    AfterValidator(_audio_format),
    WithJsonSchema({"type": "string", "enum": [*audio_output.FORMATS, *audio_output.ALIASES]}),
]


class CommonBody(Body):
    """The fields of all requests."""

    model: Any = Field(None, description="Id of the model, from /v1/models.", json_schema_extra={"type": "string"})
    seed: int = Field(0, ge=0, le=LARGEST, description="The same seed gives the same reply.")
    steps: int | None = Field(
        None, ge=1, description="Number of decoder steps.", json_schema_extra={"maximum": Limits.steps}
    )
    guidance: float | None = Field(None, ge=0, le=30)
    user: str | None = None

    @field_validator("model")
    @classmethod
    def _served(cls, name: Any, info: Any) -> Any:
        model = info.context.model
        if name != model.model_id and name not in model.before:
            message = f"no model {excerpt(repr(name), 80)}; this server has {model.model_id!r}"
            raise RequestError(message, code="model_not_found", status=404)
        return name

    @field_validator("steps", "preview_every", check_fields=False)
    @classmethod
    def _limited(cls, steps: int | None, info: Any) -> int | None:
        if steps is not None and steps > info.context.limits.steps:
            raise ValueError(f"must be at most {info.context.limits.steps}")
        return steps


class ImageOptions(Body):
    """Options of image generation that are not supported."""

    quality: Any = only("auto", "standard")
    background: Any = only("auto", "opaque")
    moderation: Any = only("auto", "low")
    output_compression: Any = only(100)
    partial_images: Any = only(0)
    input_fidelity: Any = only("low")


class ReplyBody(CommonBody):
    """The fields of requests for a reply to a conversation."""

    temperature: float = Field(0, ge=0, le=2)
    top_p: float = Field(1, ge=0, le=1)
    stream: bool = False
    preview_every: int = Field(
        0, ge=0, json_schema_extra={"maximum": Limits.steps},
        description="Decoder steps between two previews in a stream. 0: no previews.",
    )  # fmt: skip
    metadata: Any = None
    prediction: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    safety_identifier: Any = None
    service_tier: Any = only("auto", "default")
    parallel_tool_calls: Any = only(True, False)


class StreamOptions(Fields):
    include_usage: bool = False


class AudioOptions(Fields):
    format: AudioFormat = "wav"


def one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


Stop = Annotated[str, Field(max_length=200)]
Stops = Annotated[list[Stop], Field(max_length=4)]


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("must have printable characters only")
    return name


class ChatBody(ReplyBody):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[Items[Message], Field(min_length=1)]
    modalities: Items[Literal["text", "image", "audio", "video"]] = Field(
        [],
        min_length=1,
        description="Allowed modalities of the reply. With only one besides text, the reply contains that one.",
    )
    max_tokens: int | None = Field(None, ge=1, le=LARGEST, description=TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=LARGEST, description=TOKENS)
    stop: Annotated[Stops, BeforeValidator(one_or_more, json_schema_input_type=Stop | Stops)] = Field(
        [], description="The reply ends before the first of these strings."
    )
    presence_penalty: float = Field(0, ge=-2, le=2)
    frequency_penalty: float = Field(0, ge=-2, le=2)
    audio: AudioOptions = Field(AudioOptions(), description="Format of audio in the reply. The voice is ignored.")
    stream_options: StreamOptions = StreamOptions()
    session: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)] | None = Field(
        None, description="Name of a conversation whose key-value cache is kept for the next turn."
    )
    content_format: Literal["string", "list"] = Field(
        "string", description="list: message.content is the list of all parts."
    )
    store: Any = None
    n: Any = only(1, why="a request has one reply: send it several times with different seeds")
    logprobs: Any = only(False, why=NO_LOGPROBS)
    top_logprobs: Any = only(0, why=NO_LOGPROBS)
    logit_bias: Any = only({})
    response_format: Any = TEXT_FORMAT
    tools: Any = only([], why=NO_TOOLS)
    tool_choice: Any = only("none", "auto", why=NO_TOOLS)
    functions: Any = only([], why="this model does not call functions")
    function_call: Any = only("none", "auto", why="this model does not call functions")
    web_search_options: Any = only()
    reasoning_effort: Any = only("none", why=NO_REASONING)
    verbosity: Any = only("medium")
    top_k: Any = only(-1, 0)
    min_p: Any = only(0)
    repetition_penalty: Any = only(1)
    usage: Any = only({"include": True}, {"include": False})
    views: Any = only(True, False)

    @field_validator("modalities")
    @classmethod
    def _supported_modalities(cls, modalities: list[str], info: Any) -> list[str]:
        known = ("text", *info.context.model.has)
        for n, name in enumerate(modalities):
            if name not in known:
                raise RequestError(f"unknown modality {name!r}; known: {', '.join(known)}", f"[{n}]")
        return modalities


def _prompt(value: str, info: Any) -> str:
    most = info.context.limits.text_characters
    if not value.strip():
        raise RequestError("must be a non-empty string", code="missing_required_parameter")
    if len(value) > most:
        raise ValueError(f"more than {most:,} characters")
    return value


Prompt = Annotated[Text, AfterValidator(_prompt)]
