"""Parser of forms with files (multipart/form-data), for image edits. The body is in memory already, with limited size."""

from __future__ import annotations

from collections import defaultdict
from email.message import Message
from email.parser import BytesHeaderParser

from codi2_model.serving.openai.errors import RequestError

MOST_PARTS = 64
Form = dict[str, list[bytes]]


def parse_form(body: bytes, content_type: str) -> Form:
    """The values of each field, in order; `image[]` counts as `image`. Raises RequestError."""
    boundary = _header("content-type", content_type).get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= 200 or not boundary.isascii():
        raise RequestError("the form has no boundary", code="invalid_form")
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode())
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise RequestError("the form does not end with its boundary", code="invalid_form")
    if len(pieces) - 2 > MOST_PARTS:
        raise RequestError(f"the form has more than {MOST_PARTS} parts", code="too_many")
    fields: Form = defaultdict(list)
    for piece in pieces[1:-1]:
        head, blank, value = piece.partition(b"\r\n\r\n")
        headers = BytesHeaderParser().parsebytes(head.lstrip(b"\r\n \t"))
        name = headers.get_param("name", header="content-disposition")
        if not blank or not isinstance(name, str) or not name:
            raise RequestError("a part of the form has no name", code="invalid_form")
        fields[name.removesuffix("[]")].append(value)
    return dict(fields)


def _header(name: str, value: str) -> Message:
    message = Message()
    message[name] = value.replace("\n", " ").replace("\r", " ")
    return message
