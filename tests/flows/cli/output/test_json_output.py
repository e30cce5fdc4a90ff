"""JSON on standard output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from codi2_flows.cli.main import app
from codi2_flows.cli.output.json_output import print_json

LISTING = ("corpora", "query", "explain", "diff", "lineage", "status", "logs", "gc", "plugins")


@pytest.mark.parametrize("command", LISTING)
def test_every_listing_command_prints_json_on_request(command: str) -> None:
    options = app[command].assemble_argument_collection()
    assert "--json" in {name for argument in options for name in argument.names}


def test_rows_become_one_array_on_one_line_and_are_not_collected(capsys: pytest.CaptureFixture[str]) -> None:
    printed: list[str] = []

    def rows() -> Iterator[dict[str, Any]]:
        yield {"number": 1}
        printed.append(capsys.readouterr().out)
        yield {"number": 2}

    print_json(rows())
    assert printed == ['[{"number": 1}'] and capsys.readouterr().out == ', {"number": 2}]\n'
    print_json(iter(()))
    assert json.loads(capsys.readouterr().out) == []


def test_values_that_json_lacks_become_strings_or_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"day": date(2026, 1, 2), "values": [float("nan"), (float("inf"), 0.5)], "name": "é"})
    assert json.loads(capsys.readouterr().out) == {"day": "2026-01-02", "values": [None, [None, 0.5]], "name": "é"}
