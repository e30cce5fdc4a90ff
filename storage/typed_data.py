"""YAML and JSON files as dataclasses. Pydantic checks them; errors name the key and the nearest known one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import yaml

from codi2_storage.errors import nearest_hint

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
EXPECTED = {
    "string": "str", "dict": "keys and values", "dataclass": "keys and values", "list": "a list", "tuple": "a list",
}  # fmt: skip


CONFIG = {"extra": "forbid", "strict": True, "use_attribute_docstrings": True}


class KeyFault(ValueError):
    """Raised in `__post_init__` of a dataclass: the value of a key is invalid."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key} {problem}")


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Pydantic's validator of a type. Types are strict; integers are accepted as floats, and strings such as 1e-3."""
    from pydantic import TypeAdapter

    if is_dataclass(kind):
        setattr(kind, "__pydantic_config__", CONFIG)  # noqa: B010
        return TypeAdapter(kind)
    return TypeAdapter(kind, config={"strict": True})


def json_schema(kind: type) -> str:
    """The JSON Schema of a type, by which editors complete and check YAML files."""
    return json.dumps(adapter(kind).json_schema(), indent=1) + "\n"


def typed(kind: Callable[..., T], data: Any, where: str = "") -> T:
    """The data as `kind`. Raises ValueError with the key at fault. `where`: the key of the data, for errors."""
    from pydantic import ValidationError

    try:
        # as JSON, where a list may be a tuple; YAML's dates become strings
        return adapter(kind).validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise ValueError(_message(kind, error, where)) from None


def _message(kind: Any, error: Any, where: str) -> str:
    faults = error.errors(include_url=False)
    fault = next((fault for fault in faults if fault["type"] == "unexpected_keyword_argument"), faults[0])
    *outer, name = fault["loc"] or ("",)
    key = _path(where, fault["loc"])
    if fault["type"] == "unexpected_keyword_argument":
        known = _keys_at(kind, outer)
        return f"unknown key {key!r}; known: {', '.join(known)}{nearest_hint(str(name), known)}"
    if fault["type"].startswith("missing"):
        return f"key {key!r} is missing"
    if isinstance(cause := fault.get("ctx", {}).get("error"), KeyFault):
        return _path(where, (*fault["loc"], str(cause)))
    expected = fault["type"].removesuffix("_type")
    if fault["type"] == "literal_error":
        expected = fault["ctx"]["expected"]
    elif expected == fault["type"]:
        return f"{key or 'the file'}: {fault['msg'].removeprefix('Value error, ')}"
    value = fault["input"]
    actual = "nothing" if value is None else f"{type(value).__name__} {value!r}"
    return f"{key or 'the file'}: expected {EXPECTED.get(expected, expected)}, found {actual}"


def _path(where: str, names: Sequence[int | str]) -> str:
    path = where + "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in names)
    return path.removeprefix(".")


def _keys_at(kind: Any, path: Sequence[int | str]) -> list[str]:
    """The keys of the dataclass at a path of keys and indices."""
    for name in path:
        kind = get_args(kind)[0] if type(None) in get_args(kind) else kind  # X of X | None
        kind = (
            get_type_hints(kind)[str(name)]
            if is_dataclass(kind)
            else get_args(kind)[-1 if isinstance(name, str) else 0]
        )
    return [item.name for item in fields(kind)]


def read_yaml(file: Path, settings: Sequence[str] = ()) -> Any:
    """The plain data of a file, with the settings. Raises ValueError that names the file or the setting."""
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{file}: not readable as YAML: {' '.join(str(error).split())}") from error
    return with_settings(data, settings)


def with_settings(data: Any, settings: Sequence[str]) -> Any:
    """Plain data with settings of the form key.key=value, each value in YAML. Raises ValueError."""
    for setting in settings:
        path, equals, value = setting.partition("=")
        *outer, last = path.split(".")
        inner = data
        for name in outer:
            inner = inner.setdefault(name, {}) if isinstance(inner, dict) else None
        if not equals or not isinstance(inner, dict):
            raise ValueError(f"setting {setting!r}: not of the form key.key=value")
        try:
            inner[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"setting {setting!r}: the value is not valid YAML") from None
    return data
