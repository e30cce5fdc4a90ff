"""Pydantic models of the messages of a request and their parts, in the formats of chat completions and of responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from codi2_datasets.formats.hashing import digest
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.validation import Fields, Items, Text, only

NO_TOOLS = "this model does not call tools"
FIELDS = {"input_text": "text", "output_text": "text", "input_image": "image_url", "input_file": "file_data"}
"""The field with the content of a part. That of other parts is named like their type."""
MODALITIES = {
    "text": "text", "refusal": "text", "image_url": "image", "video_url": "video", "audio_url": "audio",
    "input_audio": "audio", "audio": "audio",
}  # fmt: skip
"""The modality of a part by that field. That of a file is detected from its bytes."""


class UrlField(Fields):
    url: str = Field(description="data: URL, or a URL of a host that the server fetches from")


class DataField(Fields):
    data: str = Field(description="Base64. The format is detected from the bytes.")


class FileField(Fields):
    file_data: str
    file_id: Any = only(why="files are not stored: send the file as file_data")


def _url(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


Url = Annotated[UrlField, BeforeValidator(_url, json_schema_input_type=UrlField | str)]


class Part(Fields):
    """A part of a message. Its content is in the field that is named like its type: `text`, `image_url`."""

    type: Literal[
        "text", "refusal", "image_url", "video_url", "audio_url", "input_audio", "audio", "file",
        "input_text", "output_text", "input_image", "input_file",
    ]  # fmt: skip
    text: Text | None = None
    refusal: Text | None = None
    image_url: Url | None = None
    video_url: Url | None = None
    audio_url: Url | None = None
    input_audio: DataField | None = None
    audio: DataField | None = None
    file: FileField | None = None
    file_data: str | None = None
    file_id: Any = only(why="files are not stored: send the file as file_data")

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if getattr(self, self.field) is None:
            raise RequestError("is missing", self.field, "missing_required_parameter")
        return self

    @property
    def field(self) -> str:
        return FIELDS.get(self.type, self.type)

    @property
    def modality(self) -> str | None:
        return MODALITIES.get(self.field)

    def source(self) -> tuple[str, str]:
        """(field, value): the text, the URL or the data."""
        name, value = self.field, getattr(self, self.field)
        if isinstance(value, str):
            return name, value
        [(inner, value)] = value.model_dump(exclude_none=True).items()
        return name if self.type == "input_image" else f"{name}.{inner}", value


def text_part(text: str) -> Part:
    return Part(type="text", text=text)


def text_of(parts: Sequence[Part]) -> str:
    return "".join(part.source()[1] for part in parts if part.modality == "text")


def mark(role: str, content: Sequence[Part]) -> str:
    """A hash of a message: its role, its text, and its media as they were sent, but not the form of its parts."""
    values: list[Any] = []
    for part in content:
        value = part.source()[1]
        if part.modality != "text":
            values.append([part.field, value])
        elif values and isinstance(values[-1], str):
            values[-1] += value
        elif value:
            values.append(value)
    return digest([role, values])


def _parts(value: Any) -> Any:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


Role = Literal["system", "developer", "user", "assistant"]
Content = Annotated[Items[Part], BeforeValidator(_parts, json_schema_input_type=str | list[Part])]


class SpokenField(Fields):
    """Audio of a reply: whole, or by its id."""

    id: str = ""
    data: str = ""


class OrderEntry(Fields):
    """A text, or the index of a medium in its field."""

    type: Literal["text", "image", "audio", "video"]
    text: Text = ""
    index: int = Field(0, ge=0)


class Message(Fields):
    """A message. That of the assistant may be empty, and may have the fields of a reply."""

    role: Role
    content: Content = Field([])
    refusal: Text = ""
    images: Items[Part] = Field([])
    audio: SpokenField = SpokenField()
    audios: Items[SpokenField] = Field([], description="Further audio.")
    videos: Items[Part] = Field([])
    parts: Items[OrderEntry] = Field([], description="The order of text and media.")
    tool_calls: Any = only([], why=NO_TOOLS)
    function_call: Any = only(why=NO_TOOLS)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.role != "assistant" and not self.content:
            raise RequestError("must be a string or a list of parts", "content")
        return self
