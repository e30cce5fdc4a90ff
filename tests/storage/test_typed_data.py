"""Plain data becomes dataclasses; errors name the key and the nearest known one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from codi2_storage.typed_data import typed, with_settings


@dataclass(frozen=True)
class Inner:
    size: int
    share: float | None = None


@dataclass(frozen=True)
class Outer:
    inner: tuple[Inner, ...] = ()
    named: dict[str, Inner] | None = None


def test_lists_become_tuples_and_integers_are_numbers() -> None:
    assert typed(Outer, {"inner": [{"size": 1, "share": 2}]}) == Outer((Inner(1, 2.0),))
    assert typed(Outer, {"named": {1: {"size": 3}}}).named == {"1": Inner(3)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "the file: expected keys and values, found list"),
        ({"inner": 5}, "inner: expected a list, found int 5"),
        ({"inner": [{"size": True}]}, "inner[0].size: expected int, found bool True"),
        ({"inner": [{}]}, "key 'inner[0].size' is missing"),
        (
            {"named": {"a": {"size": 1, "shar": 1}}},
            "unknown key 'named.a.shar'; known: size, share; did you mean share?",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named(data: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        typed(Outer, data)
    assert message in str(error.value)


def test_settings_change_nested_keys() -> None:
    assert with_settings({"a": {"b": 1}}, ["a.b=[2]", "c.d=x"]) == {"a": {"b": [2]}, "c": {"d": "x"}}
