"""What connectors share: files of any kind are read in order, in bounded memory, and no bytes crash a reader."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import lzma
import tarfile
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codi2_datasets.connectors import CorpusLocation, InputSplit, connectors
from codi2_datasets.corpora import RejectedRow
from codi2_datasets.media import MediaError
from codi2_datasets.media.masks import decode_mask, encode_mask, fitted, polygon_mask, run_mask
from codi2_datasets.readers import files, json_items, lines, tables, tars
from codi2_datasets.readers.base import RowCount, RowResult
from codi2_datasets.readers.delimited import delimited_rows
from codi2_datasets.readers.documents import stretches
from codi2_datasets.readers.entities import annotated, entities
from codi2_datasets.readers.json_rows import json_rows
from codi2_datasets.readers.media import media_type_of, medium
from codi2_datasets.readers.pairs import plain, tar_rows
from codi2_datasets.readers.tars import Sample
from codi2_datasets.readers.values import Bad
from codi2_datasets.transforms import transforms

FEW = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd])
def test_files_are_unpacked_by_what_they_hold_and_not_by_their_names(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    rows = [{"n": n, "words": "é" * n} for n in range(50)]
    (tmp_path / "x.jsonl").write_bytes(pack("\n".join(map(json.dumps, rows)).encode()))
    assert [row for _, row in json_rows(str(tmp_path / "x.jsonl"))] == rows


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_a_packed_file_that_breaks_off_gives_what_was_there(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 10**9, 20_000).tolist()
    whole = pack("\n".join(json.dumps({"n": n}) for n in noise).encode())
    (tmp_path / "x.jsonl").write_bytes(whole[: len(whole) // 2])
    *rows, last = [row for _, row in json_rows(str(tmp_path / "x.jsonl"))]
    assert isinstance(last, Bad) and (last.reason.startswith("damaged file") or last.reason == "no JSON")
    assert [row["n"] for row in rows if isinstance(row, dict)] == noise[: len(rows)]


# --- JSON --------------------------------------------------------------------------------------------------------


@FEW
@given(value=st.lists(PLAIN, max_size=8), chunk=st.integers(1, 64), ascii_only=st.booleans())
def test_items_of_a_list_are_those_that_json_reads(
    value: list[Any], chunk: int, ascii_only: bool, tmp_path: Path
) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps(value, ensure_ascii=ascii_only), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_items, "CHUNK", chunk)
        assert [item for _, item in json_items.json_items(str(file))] == value


@FEW
@given(value=st.dictionaries(st.text(), PLAIN, max_size=5), chunk=st.integers(1, 64))
def test_items_under_a_key_are_found_wherever_it_stands(value: dict[str, Any], chunk: int, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    wanted = {"a": 1, "b": [2, {"c": "}"}]}
    file.write_text(json.dumps({**value, "wanted key": wanted}), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_items, "CHUNK", chunk)
        assert dict(json_items.json_items(str(file), "wanted key")) == wanted
        assert dict(json_items.json_items(str(file), "wanted key", skip=True)) == dict.fromkeys(wanted)
        assert dict(json_items.json_items(str(file), only=["wanted key"])) == {"wanted key": wanted}


def test_one_broken_item_is_rejected_and_the_next_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(b'[1, {"a": nul}, {"b": "caf\xe9"}, {"c": [}, ]}, "x", {"d": 2}, tru')
    found = [item for _, item in json_items.json_items(str(file))]
    assert found[:4] == [1, Bad("no JSON"), Bad("broken UTF-8"), Bad("no JSON")]
    assert isinstance(found[-1], Bad)


def test_a_list_of_many_items_needs_no_more_memory_than_one(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    with file.open("w") as out:
        out.write('{"meta": {"images": [1]}, "data": {')
        out.write(", ".join(f'"id {n}": {{"base64": "{"A" * 5000}"}}' for n in range(8_000)))
        out.write("}}")
    tracemalloc.start()
    assert sum(1 for _ in json_items.json_items(str(file), "data")) == 8_000
    assert tracemalloc.get_traced_memory()[1] < 16e6 < file.stat().st_size
    tracemalloc.stop()


# --- any bytes ---------------------------------------------------------------------------------------------------

READERS: dict[str, Callable[[str], Any]] = {
    "json_items": lambda file: list(json_items.json_items(file)),
    "json_items of a key": lambda file: list(json_items.json_items(file, "a", skip=True)),
    "json_lines": lambda file: list(json_rows(file)),
    "csv": lambda file: list(delimited_rows(file)),
    "tsv": lambda file: list(delimited_rows(file, "\t", ("a", "b"), quoted=False)),
    "parquet": lambda file: list(tables.parquet_rows(file)),
    "tar": lambda file: list(tars.samples(file)),
    "names": lambda file: list(tars.names(file)),
    "medium": lambda file: medium(Path(file).read_bytes(), "x"),
    "sound": lambda file: medium(Path(file).read_bytes(), "x", ("audio",)),
}


@pytest.mark.parametrize("reader", list(READERS))
@settings(FEW, max_examples=200)
@given(data=st.binary(max_size=400))
@example(data=b"\x1f\x8b\x08\x00")
@example(data=b"\x28\xb5\x2f\xfd\x00")
@example(data=b"PK\x03\x04")
@example(data=b'[{"a": ')
@example(data=b"[" * 3000)
@example(data=b'"a\n,\x00b')
def test_any_bytes_are_read_or_rejected(reader: str, data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "any"
    file.write_bytes(data)
    READERS[reader](str(file))


@FEW
@given(data=st.data())
def test_a_damaged_tar_gives_only_samples_that_are_whole(data: st.DataObject, tmp_path: Path) -> None:
    members = [(f"{n:03d}.{ending}", bytes([n]) * (50 * n + 1)) for n in range(6) for ending in ("json", "jpg")]
    raw = bytearray(tar_bytes(members))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    file = tmp_path / "x.tar"
    file.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    for sample in tars.samples(str(file)):
        assert isinstance(sample, Sample) or isinstance(sample[1], Bad)


@FEW
@given(data=st.data())
def test_a_damaged_parquet_never_crashes(data: st.DataObject, tmp_path: Path) -> None:
    table = pa.table({"url": [f"https://x.example/{n}" for n in range(40)], "TEXT": ["words"] * 40})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="none")
    raw = bytearray(buffer.getvalue())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    file = tmp_path / "x.parquet"
    file.write_bytes(raw)
    rows = [row for _, row in tables.parquet_rows(str(file))]
    assert len(rows) <= 41 and all(isinstance(row, dict | Bad) for row in rows)


def tar_bytes(members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


# --- tables ------------------------------------------------------------------------------------------------------


def test_text_that_is_no_utf8_costs_its_own_row_of_parquet(tmp_path: Path) -> None:
    words = pa.array([b"good", b"caf\xe9", b"fine"], pa.binary())
    table = pa.table({"TEXT": pa.Array.from_buffers(pa.string(), 3, words.buffers())})
    pq.write_table(table, tmp_path / "x.parquet")
    rows = [row for _, row in tables.parquet_rows(str(tmp_path / "x.parquet"))]
    assert rows == [{"TEXT": "good"}, Bad("broken UTF-8"), {"TEXT": "fine"}]


def test_a_file_without_a_line_break_is_no_row_of_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 100_000)
    (tmp_path / "x.csv").write_bytes(b"a,b\n1,2\n" + b'"' + b"x" * 2_000_000)
    rows = [row for _, row in delimited_rows(str(tmp_path / "x.csv"))]
    assert rows[0] == {"a": "1", "b": "2"} and all(isinstance(row, Bad) for row in rows[1:])


@FEW
@given(total=st.integers(0, 90), size=st.integers(1, 20))
def test_slices_are_all_rows_once_and_in_order(total: int, size: int, tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("x")
    pieces = list(
        tables.slices(CorpusLocation("x", "x"), [str(file)], lambda _: ((n, {}) for n in range(total)), size=size)
    )
    found = [n for piece in pieces for n, _ in tables.sliced(piece, ((n, {}) for n in range(total)), size)]
    assert found == list(range(total))


def test_a_folder_is_known_by_the_content_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"1")
    first = files.folder_identity(str(tmp_path), ("*.wav",))
    (tmp_path / "b.txt").write_bytes(b"2")
    assert files.folder_identity(str(tmp_path), ("*.wav",)) == first
    (tmp_path / "a.wav").write_bytes(b"3")
    assert files.folder_identity(str(tmp_path), ("*.wav",)) != first


def test_errors_of_the_store_are_no_damage_of_the_file() -> None:
    assert files.damage(OSError("CRC check failed")) == "CRC check failed" and files.damage(EOFError()) == "EOFError"
    with pytest.raises(OSError, match="no network"):
        files.damage(OSError(errno.EIO, "no network"))
    with pytest.raises(FileNotFoundError):
        list(json_rows("/nowhere/x.jsonl"))


# --- stores ------------------------------------------------------------------------------------------------------


def test_published_files_are_read_from_s3_and_http(published: Path, served_files: tuple[str, str]) -> None:
    bucket, web = served_files
    connector = connectors()["laion"]
    here = CorpusLocation("laion", f"{published}/laion/*.parquet", f"{published}/laion/fetched")
    there = CorpusLocation("laion", f"{bucket}/laion/*.parquet", f"{bucket}/laion/fetched")
    rows = [[row for piece in connector.pieces(place) for row in connector.rows(piece)] for place in (here, there)]
    assert rows[0] == rows[1] and connector.links is not None
    assert list(connector.links(here)) == list(connector.links(there))
    first, again = (list(connector.pieces(there)) for _ in range(2))
    assert [piece.identity for piece in first] == [piece.identity for piece in again]
    alpaca = connectors()["alpaca"]
    read = [
        [
            row
            for piece in alpaca.pieces(CorpusLocation("alpaca", f"{root}/alpaca/alpaca_data.json"))
            for row in alpaca.rows(piece)
        ]
        for root in (published, web)
    ]
    assert read[0] == read[1] and len(read[0]) == 33


# --- media and masks ---------------------------------------------------------------------------------------------


def test_media_are_told_by_their_first_bytes(making: ModuleType) -> None:
    kinds = {"image/jpeg": making.jpeg(1), "image/png": making.cut_out(1), "audio/wav": making.tone(1),
             "audio/flac": making.tone(1, kind="FLAC"), "video/mp4": making.clip(1), "": b"<!doctype html>"}  # fmt: skip
    assert {media_type_of(data): data for data in kinds.values()} == kinds
    assert medium(making.clip(1), "x", ("image",)) == Bad("video, not image")
    assert medium(making.clip(1)[:900], "x", ("audio",)).__class__ is Bad
    sound = medium(making.clip(1), "x", ("audio",))
    assert not isinstance(sound, Bad) and sound.media_type == "audio/wav"


@FEW
@given(st.integers(1, 30), st.data())
def test_a_mask_comes_back_as_it_was(side: int, data: st.DataObject) -> None:
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=side * side, max_size=side * side))).reshape(side, side)
    assert (decode_mask(encode_mask(mask)) == mask).all()


@FEW
@given(st.text(max_size=30))
def test_a_mask_of_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert decode_mask(text).ndim == 2


def test_outlines_and_runs_of_one_thing_give_one_mask() -> None:
    left, top, right, bottom = 24, 16, 72, 48
    outline = polygon_mask([[left, top, right, top, right, bottom, left, bottom]], 96, 72)
    whole = np.zeros((72, 96), dtype=bool)
    whole[top : bottom + 1, left : right + 1] = True
    flat = whole.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(int)])))
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    assert (run_mask(runs, 72, 96) == fitted(whole)).all()
    assert (outline ^ fitted(whole)).mean() < 0.02
    # 'PPYo0' and the like: the runs of a 4 x 3 picture, packed as COCO packs them
    assert (run_mask(packed([2, 3, 1, 6]), 4, 3, 12) == run_mask([2, 3, 1, 6], 4, 3, 12)).all()


def packed(runs: list[int]) -> str:
    letters = []
    for n, run in enumerate(runs):
        value, more = run - (runs[n - 2] if n > 2 else 0), True
        while more:
            five, value = value & 31, value >> 5
            more = value != (-1 if five & 16 else 0)
            letters.append(chr(five + (32 if more else 0) + 48))
    return "".join(letters)


@FEW
@given(st.dictionaries(st.sampled_from(["segmentation", "iscrowd", "counts", "size"]), PLAIN))
def test_any_annotation_is_a_mask_or_none(annotation: dict[str, Any]) -> None:
    found = annotated(annotation, 20, 10)
    assert found is None or found.shape == (96, 96)


def test_a_thing_is_cut_out_on_white_as_large_as_fits(making: ModuleType) -> None:
    picture = np.asarray(making.picture(3, side=64).resize((64, 64)))
    mask = np.zeros((96, 96), dtype=bool)
    mask[30:60, 20:80] = True
    cut = transforms()["cut"].make([picture], {"mask": encode_mask(mask)})
    assert cut.shape == picture.shape and (cut[0] == 255).all() and (cut[32] != 255).any(axis=1).mean() > 0.9
    with pytest.raises(MediaError, match="empty"):
        transforms()["cut"].make([picture], {"mask": encode_mask(np.zeros((4, 4), dtype=bool))})
    with pytest.raises(MediaError, match="fill its grid"):
        transforms()["cut"].make([picture], {"mask": "4:3"})
    assert entities([("dog", mask), ("dog", mask[::-1]), ("", mask), ("speck", mask & False)])[0]["name"] == "dog"


@FEW
@given(st.lists(st.tuples(st.sampled_from(["text", "image"]), st.text(min_size=1, max_size=5)), max_size=20))
def test_stretches_of_a_page_have_a_text_beside_every_picture(parts: list[tuple[str, str]]) -> None:
    for stretch in stretches(parts):
        assert len(stretch.texts) == len(stretch.images) + 1 and any(stretch.texts) and 1 <= len(stretch.images) <= 3


def test_rows_of_a_tar_that_is_none_are_one_reject(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar at all" * 100)
    result, held = tar_rows(InputSplit(CorpusLocation("x", ""), str(tmp_path / "x.tar"), ""), plain, ("image",), "MIT")
    assert isinstance(result, RowResult) and held == RowCount(1)
    assert isinstance(result.rows[0], RejectedRow) and result.rows[0].reason.startswith("damaged tar")
