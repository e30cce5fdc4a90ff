"""CSV and TSV as people write them: every line is a row or a part of one, and no quote takes the rows behind it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codi2_datasets.readers.delimited import delimited_rows, header_of
from codi2_datasets.readers.values import Bad

SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# what fields of the web hold: quotes in odd places, ends of lines that are none, blanks at either side, and words of programs
TEXTS = st.text(
    st.sampled_from('a "\u2028\u0085\u00a0\x0b\u00e9,;\'\\{}<>') | st.characters(codec="utf-8", exclude_characters="\n\r\t\x00"),
    max_size=20,
)  # fmt: skip


def read(folder: Path, content: str | bytes, delimiter: str = ",", **how: Any) -> list[Any]:
    file = folder / ("x.tsv" if delimiter == "\t" else "x.csv")
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return [
        list(row.values()) if isinstance(row, dict) else row for _, row in delimited_rows(str(file), delimiter, **how)
    ]


@SOME
@given(rows=st.lists(st.tuples(TEXTS, TEXTS | st.text(st.sampled_from('a,"\n\u00e9'), max_size=12)), max_size=8))
def test_what_a_csv_writer_wrote_is_read_as_it_was(rows: list[tuple[str, str]], tmp_path: Path) -> None:
    table = [["url", "caption", "more"], *([f"https://a.example/{n}", *row] for n, row in enumerate(rows))]
    for end in ("\n", "\r\n"):
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator=end).writerows(table)
        assert read(tmp_path, buffer.getvalue()) == table[1:]


@SOME
@given(captions=st.lists(TEXTS.filter(lambda text: '""' not in text), min_size=1, max_size=12))
def test_a_tsv_without_any_quoting_is_read_as_it_stands(captions: list[str], tmp_path: Path) -> None:
    lines = ["url\tcaption", *(f"https://a.example/{n}\t{caption}" for n, caption in enumerate(captions))]
    found = read(tmp_path, "\n".join(lines), "\t")
    assert found == [[f"https://a.example/{n}", caption] for n, caption in enumerate(captions)]


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_quote_that_never_closes_costs_no_row(delimiter: str, column: int, tmp_path: Path) -> None:
    rows = [[f"id{n}", f"https://a.example/{n}", f"words {n}"] for n in range(6)]
    rows[1][2], rows[4][2] = '"Best pizza in town', 'the screen is 15"'
    order = [column, *(n for n in range(3) if n != column)]
    lines = [delimiter.join([("id", "url", "caption")[n] for n in order])]
    lines += [delimiter.join(row[n] for n in order) for row in rows]
    assert read(tmp_path, "\n".join(lines), delimiter) == [[row[n] for n in order] for row in rows]


def test_a_field_in_quotes_may_go_over_lines_unless_these_are_rows(tmp_path: Path) -> None:
    told = 'name,caption\na.wav,"two\nlines, with a comma"\nb.wav,"one\r\ntwo"\nc.wav,"he said ""hi"""\n'
    assert read(tmp_path, told) == [
        ["a.wav", "two\nlines, with a comma"],
        ["b.wav", "one\ntwo"],
        ["c.wav", 'he said "hi"'],
    ]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("a,b\r1,x\r2,y\r", [["1", "x"], ["2", "y"]]),
        ("a,b\n1,x\r2,y\r\n3,z", [["1", "x"], ["2", "y"], ["3", "z"]]),
        ("a,b\n1,x\ry\n2,z", [["1", "x\ry"], ["2", "z"]]),
        ("a,b\n1,x\u2028y\u0085z\n", [["1", "x\u2028y\u0085z"]]),
        ("\ufeffa,b\n1,\u00e9\n", [["1", "\u00e9"]]),
        ("a,b\n1,\u00e9\n".encode("utf-16"), [["1", "\u00e9"]]),
        ("a,b\n1,\u00e9\n2,x".encode("latin-1"), [Bad("broken UTF-8"), ["2", "x"]]),
        ("a,b\n1\n\n  \n2,x,y\n3,z,,\n", [Bad("too few fields"), Bad("too many fields"), ["3", "z"]]),
        ('a, b\n1, "x, y"\n2, z\n', [["1", "x, y"], ["2", "z"]]),
        ('a,b\n1,"say \\"hi\\", then"\n', [["1", 'say "hi", then']]),
        ("a,b\n x.wav,null\n007,1e5\n", [[" x.wav", "null"], ["007", "1e5"]]),
    ],
)  # fmt: skip
def test_line_ends_encodings_and_ragged_rows(content: str | bytes, wanted: list[Any], tmp_path: Path) -> None:
    assert read(tmp_path, content) == wanted


def test_quotes_of_tsv_are_characters_unless_the_field_needs_them(tmp_path: Path) -> None:
    told = 'a\tb\n1\t"x"\n2\t"x ""y"" z"\n3\t"tab\there"\n'
    assert read(tmp_path, told, "\t") == [["1", '"x"'], ["2", 'x "y" z'], ["3", "tab\there"]]
    assert read(tmp_path, '"a"\t"b"\n"1"\t"x"\n', "\t") == [["1", "x"]]
    assert read(tmp_path, told, "\t", quoted=False)[1] == ["2", '"x ""y"" z"']


def test_the_header_is_read_as_the_rows_are(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b'\xef\xbb\xbf"a, b", c\r1,2\r')
    assert header_of(str(tmp_path / "x.csv")) == ["a, b", "c"]
