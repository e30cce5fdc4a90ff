"""The base of all models of requests: null means missing, unsupported fields are refused, errors name the field at fault."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, ValidationError, model_validator

from codi2_model.config import MODALITIES as MEDIA
from codi2_model.serving.http.media import Limits
from codi2_model.serving.openai.errors import RequestError, excerpt
from codi2_storage.errors import nearest_hint

T = TypeVar("T")
NULL = {"type": "null"}


@dataclass(frozen=True)
class ModelCard:
    """The model's name, its modalities besides text, and former names that requests may still use (`before`)."""

    model_id: str
    has: tuple[str, ...] = MEDIA
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class Server:
    """What a request is checked against: the model and the limits of the server."""

    model: ModelCard
    limits: Limits


def _unicode(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("contains a lone surrogate, which is not valid Unicode") from None
    return value


Text = Annotated[str, AfterValidator(_unicode)]
Items = Annotated[list[T], FailFast(), Field(max_length=1024)]
"""A list. Its validation ends at the first error, because a body may contain millions."""


def only(*values: Any, why: str = "this model does not support it") -> Any:
    """A field that is accepted at values that change nothing, and refused at all others."""
    return Field(None, description=why, json_schema_extra={"enum": list(values)})


def _describe(schema: dict[str, Any], model: type[Fields]) -> None:
    """Optional fields may be null, because clients send null for missing fields."""
    if model.closed:
        schema["additionalProperties"] = NULL
    for name, field in schema.get("properties", {}).items():
        if name not in schema.get("required", ()) and NULL not in field.get("anyOf", ()):
            schema["properties"][name] = {"anyOf": [field, NULL]}


class Fields(BaseModel):
    """An object of a request."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, json_schema_extra=_describe)
    closed: ClassVar[bool] = False
    """Whether unknown fields are refused."""

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, data: Any) -> Any:
        """The fields without null, 64.0 as the integer that it is in JSON. Raises RequestError for an unsupported field."""
        if not isinstance(data, dict):
            return data
        fields = cls.__pydantic_fields__  # a plain attribute, faster than `model_fields`
        values = {name: _whole(value) for name, value in data.items() if value is not None}
        for name, value in values.items():
            field = fields.get(name)
            if field is None and cls.closed:
                known = [known for known, field in fields.items() if field.annotation is not Any]
                hint = nearest_hint(name[:40], known) or f"; known: {', '.join(known)}"
                raise RequestError(f"unknown parameter{hint}", excerpt(name, 40), "unknown_parameter")
            if field is not None and isinstance(field.json_schema_extra, dict) and "enum" in field.json_schema_extra:
                _refuse_unless(name, value, field.json_schema_extra["enum"], str(field.description))
        return values

    @classmethod
    def parse(cls, data: Any, server: Server) -> Self:
        """Validate. Raises RequestError for the first error."""
        try:
            return cls.model_validate(data, context=server)
        except ValidationError as error:
            raise request_error(error) from None


class Body(Fields):
    """The body of a request. Unknown fields are refused, because they would change nothing."""

    closed = True


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refuse_unless(name: str, value: Any, values: Any, why: str) -> None:
    if not any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in values):
        allowed = f", or send {' or '.join(map(json.dumps, values))}" if values else ""
        raise RequestError(f"{why}: leave {name} out{allowed}", name, "unsupported_parameter")


def request_error(error: ValidationError) -> RequestError:
    """The first error as one that names the field: messages[0].content[1].image_url.url."""
    fault = error.errors(include_url=False)[0]
    cause, path = fault.get("ctx", {}).get("error"), fault["loc"]
    if isinstance(cause, RequestError) and cause.param:
        path = (*path, cause.param)
    names = "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in path)
    field = names.replace(".[", "[").removeprefix(".") or None
    if isinstance(cause, RequestError):
        return RequestError(str(cause), field, cause.code, cause.status)
    if fault["type"] == "literal_error":
        return RequestError(f"{excerpt(repr(fault['input']), 40)} is not one of {fault['ctx']['expected']}", field)
    message = re.sub("^(Input|String|List) should", "must", fault["msg"].removeprefix("Value error, "))
    return RequestError(message, field, "missing_required_parameter" if fault["type"] == "missing" else "invalid_value")
