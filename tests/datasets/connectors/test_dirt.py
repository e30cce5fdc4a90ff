"""Dirt in the files of every connector: it costs its own row, and every row is a source row or a reject that names it.

`Connector.rows` raises where a row of a piece gives neither; here the other rows must come out as they did without the dirt.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codi2_datasets.connectors import CorpusLocation, InputSplit, Link, connectors
from codi2_datasets.corpora import RejectedRow, SourceRow
from codi2_datasets.formats.hashing import sha256
from codi2_datasets.readers import files
from codi2_datasets.readers.base import LostRows, RowCount, RowResult

FEW = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MOVES = ("family", "pair")  # attributes that may hold a row's place, which moves with the rows before it
# where rows stand: connector, the file, and for JSON the key of the list in it
TABLES = {
    "audiocaps": "train.csv", "audioset": "balanced_train_segments.csv", "cc3m": "cc3m/Train_GCC-training.tsv",
    "clotho": "clotho_captions_development.csv", "esc50": "meta/esc50.csv", "metaicl": "crossfit/boolq_16_13_train.tsv",
    "vggsound": "vggsound.csv", "webvid": "results_2M_train.csv",
}  # fmt: skip
LINES = {
    "dolly": "databricks-dolly-15k.jsonl.zst", "metaicl": "ag_news/ag_news_16_13_train.jsonl",
    "mmc4": "docs_no_face_shard_0_v2.jsonl.zip",
}  # fmt: skip
LISTS = {
    "alpaca": ("alpaca_data.json", ""), "coco": ("captions_train2017.json", "images"),
    "llava-instruct": ("llava_instruct_150k.json", ""), "mimic-it": ("LA_instructions.json", "data"),
    "natural-instructions": ("tasks/task000_numbers.json", "Instances"),
    "wavcaps": ("FreeSound/fsd_final.json", "data"),
}  # fmt: skip
PARQUETS = ("coyo", "instructpix2pix 2", "laion", "magicbrush", "mimic-it", "obelics")
TARS = ("audioset 2", "cc12m", "cc3m", "coyo", "laion", "mmc4", "obelics", "webdataset")
WORDS = st.text(st.sampled_from('aA1 "\u2028\u0085\r\u00e9\ud83d\ude00,\t{}<>[]null'), max_size=30)


@pytest.fixture(scope="module")
def copy(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(published, tmp_path_factory.mktemp("dirt") / "published"))


@contextmanager
def changed(file: Path, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """A file with other content for a while; packed as it was."""
    before = file.read_bytes()
    file.write_bytes(repack(before, change(unpack(before)), file.name))
    try:
        yield
    finally:
        file.write_bytes(before)


def unpack(data: bytes) -> bytes:
    if data.startswith(b"PK"):
        archive = zipfile.ZipFile(io.BytesIO(data))
        return archive.read(archive.namelist()[0])
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def repack(before: bytes, data: bytes, name: str) -> bytes:
    if before.startswith(b"PK"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(name.removesuffix(".zip"), data)
        return buffer.getvalue()
    if before.startswith(b"\x28\xb5\x2f\xfd"):
        return pa.Codec("zstd").compress(data, asbytes=True)
    return gzip.compress(data) if before.startswith(b"\x1f\x8b") else data


def outcome(place: CorpusLocation, links: bool = False) -> Counter[str]:
    """What comes out of a corpus, each with its number, without the places of rows."""
    files.keep_for("")
    connector = connectors()[place.corpus]
    if links:
        assert connector.links is not None
        return Counter(map(told, connector.links(place)))
    return Counter(told(row) for piece in connector.pieces(place) for row in connector.rows(piece))


def told(row: SourceRow | RejectedRow | Link) -> str:
    if isinstance(row, RejectedRow):
        assert row.locator and row.reason
        return row.reason
    if isinstance(row, Link):
        return f"{row.url} {row.caption}"
    attributes = {name: value for name, value in row.attributes.items() if name not in MOVES}
    return f"{sha256(row.payload)} {row.caption} {json.dumps(attributes, sort_keys=True)}"


@functools.cache
def clean(place_of: Any, root: Path, which: str, links: bool = False) -> Counter[str]:
    return outcome(place_of(root, which), links)


def one_more(before: Counter[str], after: Counter[str], more: int = 1) -> None:
    """All that came out before comes out still, and something for each row more."""
    assert not before - after and (after - before).total() == more, (before - after, after - before)


def file_of(place: CorpusLocation, name: str) -> Path:
    """The file of that name of a corpus."""
    wanted = name.rpartition("/")[2]
    return next(Path(file) for file in files.find(place.path, ("*",)) if file.endswith(f"/{wanted}"))


# --- tables and lines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", list(TABLES))
@FEW
@given(data=st.data(), words=WORDS)
def test_a_dirty_row_of_a_table_costs_no_other(
    which: str, data: st.DataObject, words: str, copy: Path, place_of: Any
) -> None:
    links = which == "cc3m"
    before, place = clean(place_of, copy, which, links), place_of(copy, which)
    file = file_of(place, TABLES[which])
    delimiter = "\t" if file.suffix == ".tsv" else ","
    lines = file.read_bytes().split(b"\n")
    first = next(n for n, line in enumerate(lines) if line and not line.startswith(b"#"))
    width = 4 if which == "audioset" else lines[first].count(delimiter.encode()) + 1
    at = data.draw(st.integers(first + (which not in ("audioset", "vggsound", "metaicl", "cc3m")), len(lines)))
    kind = data.draw(st.sampled_from(["field", "short", "long", "no text", "empty"]))
    words = words.replace("\r", " ") if kind == "long" else words  # else it is two rows
    field = words.replace(delimiter, " ").encode("utf-8", "surrogatepass")
    row = delimiter.encode().join([b"dirt-1", *[b"7"] * (width - 2), data.draw(st.sampled_from([b"", b'"'])) + field])
    dirt = {"field": row, "short": b"dirt-1", "long": row + delimiter.encode() + b"x", "no text": row + b"\xff",
            "empty": b"  "}[kind]  # fmt: skip
    with changed(file, lambda _: b"\n".join([*lines[:at], dirt, *lines[at:]])):
        one_more(before, outcome(place, links), 0 if kind == "empty" else 1)


@pytest.mark.parametrize("which", list(LINES))
@FEW
@given(data=st.data(), words=WORDS)
def test_a_dirty_line_of_json_costs_no_other(
    which: str, data: st.DataObject, words: str, copy: Path, place_of: Any
) -> None:
    before, place = clean(place_of, copy, which), place_of(copy, which)
    file = file_of(place, LINES[which])
    lines = unpack(file.read_bytes()).split(b"\n")
    said = json.dumps(words, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass")
    dirt = data.draw(st.sampled_from([b'{"task": "dirt", "x": ' + said + b"}", said, b'{"x": ' + said, b'{"x": "\xff"}',
                                      b"[" + said + b"]", b"}", b'{"x": NaN}', b"\xff", b" \r"]))  # fmt: skip
    at = data.draw(st.integers(0 if which != "mmc4" else 1, len(lines)))
    with changed(file, lambda _: b"\n".join([*lines[:at], dirt, *lines[at:]])):
        one_more(before, outcome(place), int(bool(dirt.strip())))


@pytest.mark.parametrize("which", list(LISTS))
@FEW
@given(data=st.data(), words=WORDS)
def test_a_dirty_item_of_json_costs_no_other(
    which: str, data: st.DataObject, words: str, copy: Path, place_of: Any
) -> None:
    before, place, (name, key) = clean(place_of, copy, which), place_of(copy, which), LISTS[which]
    file = file_of(place, name)
    whole = json.loads(file.read_bytes())
    rows = whole[key] if key else whole
    said = json.dumps(words)
    dirt = data.draw(
        st.sampled_from([f'{{"x": {said}}}', said, "7", "null", '{"x": NaN}', '{"x": nul}', '{"x": [}', f"[{said}]"])
    )
    if isinstance(rows, dict):
        texts = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
        dirt = f'"dirt": {dirt}'
    else:
        texts = list(map(json.dumps, rows))
    at = data.draw(st.integers(1, len(texts)))
    inner = ", ".join([*texts[:at], dirt, *texts[at:]])
    inner = f"{{{inner}}}" if isinstance(rows, dict) else f"[{inner}]"
    others = {name: value for name, value in whole.items() if name != key} if key else {}
    text = f"{json.dumps(others)[:-1]}{', ' if others else ''}{json.dumps(key)}: {inner}}}" if key else inner
    with changed(file, lambda _: text.encode()):
        one_more(before, outcome(place))


# --- Parquet -----------------------------------------------------------------------------------------------------

STRINGS = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(),
           pa.dictionary(pa.int32(), pa.string())]  # fmt: skip


@pytest.mark.parametrize("which", PARQUETS)
@settings(FEW, max_examples=len(STRINGS))
@given(kind=st.sampled_from(STRINGS))
def test_strings_of_every_type_of_arrow_are_strings(which: str, kind: pa.DataType, copy: Path, place_of: Any) -> None:
    links = which in ("coyo", "laion")
    before, place = clean(place_of, copy, which, links), place_of(copy, which)
    names = [Path(name) for name in files.find(place.path, ("*.parquet",)) if b"cut off" not in Path(name).read_bytes()]

    def recast(data: bytes) -> bytes:
        table = pq.read_table(io.BytesIO(data))
        groups = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).num_rows
        fields = [field.with_type(kind) if pa.types.is_string(field.type) else field for field in table.schema]
        buffer = io.BytesIO()
        pq.write_table(pa.table([recolumn(table[field.name], field.type) for field in fields], pa.schema(fields)), buffer,
                       row_group_size=groups)  # fmt: skip
        return buffer.getvalue()

    before_bytes = {name: name.read_bytes() for name in names}
    try:
        for name, data in before_bytes.items():
            name.write_bytes(recast(data))
        assert outcome(place, links) == before
    finally:
        for name, data in before_bytes.items():
            name.write_bytes(data)


def recolumn(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return (
        column.dictionary_encode()
        if pa.types.is_dictionary(kind) and not pa.types.is_dictionary(column.type)
        else column.cast(kind)
    )


# --- tars --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", TARS)
@FEW
@given(data=st.data())
def test_shadows_and_another_order_change_nothing_of_a_tar(
    which: str, data: st.DataObject, copy: Path, place_of: Any, making: ModuleType
) -> None:
    import tarfile

    before, place = clean(place_of, copy, which), place_of(copy, which)
    tar = next(
        Path(file) for file in files.find(place.media or place.path, ("*.tar",)) if Path(file).stat().st_size > 5000
    )

    def repacked(raw: bytes) -> bytes:
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            members = [(member.name, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]
        shadow = bytes.fromhex("00051607") + bytes(50)
        extra = [(f"._{members[n][0]}", shadow) for n in range(0, len(members), 3)] + [(".DS_Store", shadow)]
        order = data.draw(st.permutations([*members, *extra]))
        path = making.tar(tar.parent / "again" / "x.tar", order)
        found = path.read_bytes()
        shutil.rmtree(path.parent)
        return found

    with changed(tar, repacked):
        assert outcome(place) == before


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([RowResult((RejectedRow("x", "1", "bad"),))], "holds 2 rows, and 1 were accounted for"),
        ([RowResult((RejectedRow("x", "1", "bad"),)), RowResult(())], "row 1 gives neither a row nor a reject"),
        ([RowResult((RejectedRow("x", "1", "bad"),), inputs=3)], "holds 2 rows, and 3 were accounted for"),
        ([RowResult((), elsewhere=True), RowCount(2)], "holds 2 rows, and 1 were accounted for"),
    ],
)
def test_a_connector_that_loses_a_row_is_an_error(results: list[RowResult | RowCount], message: str) -> None:
    careless = replace(connectors()["alpaca"], results=lambda piece: iter(results))
    with pytest.raises(LostRows, match=f"alpaca: a.json: {message}|alpaca: a.json {message}"):
        list(careless.rows(InputSplit(CorpusLocation("x", ""), "a.json", "", rows=2)))


def test_every_connector_is_in_this_sweep(where: dict[str, Any]) -> None:
    swept = {name.split()[0] for name in (*TABLES, *LINES, *LISTS, *PARQUETS, *TARS)}
    assert swept | {"cc12m", "instructpix2pix"} == set(connectors())
