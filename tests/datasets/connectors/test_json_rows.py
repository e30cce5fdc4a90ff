"""JSON however it is laid out: every object is a row, and what is broken costs its own row alone."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codi2_datasets.readers import json_items
from codi2_datasets.readers.json_rows import json_rows
from codi2_datasets.readers.values import Bad

SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
VALUES = (
    st.text(max_size=8)
    | st.integers()
    | st.none()
    | st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=3)), max_size=2)
)
ROWS = st.lists(st.fixed_dictionaries({"id": st.integers(), "said": VALUES}), max_size=6)
BROKEN = (
    '{"id": 1, "said": "cut',
    '{"id": nul}',
    '{"id": 1]}',
    "{",
    "]",
    '{"id": "}',
    "words",
    '{"id": 1, "said": {"a": }}',
)
LAYOUTS: dict[str, Any] = {
    "lines": lambda rows: "\n".join(map(json.dumps, rows)),
    "lines with blanks": lambda rows: "\n\n".join(f"{json.dumps(row)} \r" for row in rows),
    "list": json.dumps,
    "list of lines": lambda rows: "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n",
    "pretty list": lambda rows: json.dumps(rows, indent=2, ensure_ascii=False),
    "one after the other": lambda rows: "".join(map(json.dumps, rows)),
    "pretty, one after the other": lambda rows: "\n".join(json.dumps(row, indent=1) for row in rows),
    "lists": lambda rows: f"{json.dumps(rows[:2])}\n{json.dumps(rows[2:])}",
    "carriage returns": lambda rows: "\r".join(map(json.dumps, rows)),
}


def read(folder: Path, content: str | bytes) -> list[Any]:
    (folder / "x").write_bytes(content.encode() if isinstance(content, str) else content)
    return [row for _, row in json_rows(str(folder / "x"))]


@pytest.mark.parametrize("layout", list(LAYOUTS))
@settings(SOME, max_examples=25)
@given(rows=ROWS, encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_rows_are_the_same_in_every_layout(layout: str, rows: list[Any], encoding: str, tmp_path: Path) -> None:
    assert read(tmp_path, LAYOUTS[layout](rows).encode(encoding)) == rows


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_one_broken_line_costs_one_row(broken: str, place: int, tmp_path: Path) -> None:
    rows: list[Any] = [{"id": n, "said": f"\u2028 {n}"} for n in range(4)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    found = read(tmp_path, "\n".join([*lines[:place], broken, *lines[place:]]))
    assert found == [*rows[:place], Bad("no JSON"), *rows[place:]]


@pytest.mark.parametrize(
    "broken", ['{"id": 1, "said": "cut}', '{"id": nul}', '{"id": 1, "said": [}', '{"id": 1, "said": {"a": }}']
)
@pytest.mark.parametrize("between", [", ", ",\n"])
def test_one_broken_item_of_a_list_costs_one_row(broken: str, between: str, tmp_path: Path) -> None:
    rows = [{"id": n, "said": f"words {n}"} for n in range(4)]
    items = [*map(json.dumps, rows[:2]), broken, *map(json.dumps, rows[2:])]
    assert read(tmp_path, f"[{between.join(items)}]") == [*rows[:2], Bad("no JSON"), *rows[2:]]


def test_a_zip_of_one_file_may_have_been_packed_on_a_mac(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        for name, content in (
            ("__MACOSX/._x.jsonl", "shadow"),
            ("sub/", ""),
            ("sub/x.jsonl", '{"a": 1}'),
            (".DS_Store", "x"),
        ):
            archive.writestr(name, content)
    assert [row for _, row in json_rows(str(tmp_path / "x"))] == [{"a": 1}]


def test_what_stands_behind_a_list_is_no_silent_loss(tmp_path: Path) -> None:
    assert read(tmp_path, '[{"a": 1}] {"a": 2}') == [{"a": 1}, {"a": 2}]
    (tmp_path / "y").write_text('{"a": 1} {"b": 2}')
    assert list(json_items.json_items(str(tmp_path / "y")))[-1] == (-1, Bad("more text behind the end of its JSON"))


def test_nan_halves_of_characters_and_no_utf8(tmp_path: Path) -> None:
    found = read(tmp_path, b'{"a": "\\ud83d"}\n{"a": Infinity}\n{"a": "caf\xe9"}\n{"a": "\\udcff"}\n')
    assert found == [{"a": "\ud83d"}, {"a": float("inf")}, Bad("broken UTF-8"), {"a": "\udcff"}]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_of_a_packed_file_that_breaks_off_what_was_there_is_read(pack: Any, tmp_path: Path) -> None:
    noise = random.Random(1)
    rows = [{"n": n, "x": noise.randbytes(40).hex()} for n in range(2000)]
    whole = pack("\n".join(map(json.dumps, rows)).encode())
    *found, last = read(tmp_path, whole[: len(whole) * 3 // 4])
    assert found == rows[: len(found)] and last.reason.startswith("damaged file")
    assert len(found) > 1000 or pack is bz2.compress  # which is made of blocks


def test_a_line_that_is_too_long_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codi2_datasets.readers.lines.LONGEST", 1000)
    found = read(tmp_path, '{"a": 1}\n{"a": "' + "x" * 5000 + '"}\n{"a": 2}\n')
    assert found == [{"a": 1}, Bad("a line of more than 1,000 bytes"), {"a": 2}]
