"""Imports of unfinished, damaged and foreign exports: an error or a reject that names the row, and nothing removed."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codi2_datasets.exports import ExportError, Item, Loss, Reading, formats
from codi2_datasets.exports.exporting import MARK, clear, import_folder
from codi2_datasets.exports.exporting import items as stored
from codi2_datasets.exports.webdataset import write_tar
from codi2_datasets.formats.sample import Message, Part, Sample
from codi2_storage.store import Store
from tests.datasets.exports.test_exports import MEDIA, exported, llava_folder, sample_set


@pytest.mark.parametrize(("source", "name"), [("out", "webdataset"), ("none", "webdataset"), ("out", "nonsense")])
def test_an_import_that_fails_removes_nothing(source: str, name: str, tmp_path: Path) -> None:
    out = Store(tmp_path / "out")
    clear(out, "webdataset")
    formats()["webdataset"].write(iter(sample_set()), out)
    out.write_bytes(MARK, b"{}")
    before = {path: out.read_bytes(path) for path in out.list()}
    with pytest.raises(ExportError):
        import_folder(str(tmp_path / source), name, str(tmp_path / "out"))
    assert {path: out.read_bytes(path) for path in out.list()} == before


def test_an_unfinished_export_is_not_imported(tmp_path: Path) -> None:
    exported("trl", tmp_path / "in")
    (tmp_path / "in" / MARK).write_bytes(b'{"unfinished": true}')
    with pytest.raises(ExportError, match="not finished"):
        import_folder(str(tmp_path / "in"), "trl", str(tmp_path / "out"))


def test_a_shard_that_is_not_as_it_was_written_is_an_error(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", sample_set()[:2])
    data = (tmp_path / "s.tar").read_bytes()
    row = {"shard": "s.tar", "task": "t", "split": "train", "sha256": hashlib.sha256(data).hexdigest()}
    assert list(stored(Store(tmp_path), [row], None, lambda amount=1: None)) == sample_set()[:2]
    (tmp_path / "s.tar").write_bytes(data[:-1] + b"x")
    with pytest.raises(ExportError, match=r"s\.tar: bytes are not those of the build"):
        list(stored(Store(tmp_path), [row], None, lambda amount=1: None))


@pytest.mark.parametrize(
    ("order", "message"), [([0], "lacks its member 000.webp"), ([1, 0], "does not follow the .json")]
)
def test_a_tar_with_members_missing_or_out_of_order_is_an_error(order: list[int], message: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "whole.tar", sample_set()[:1])
    with tarfile.open(tmp_path / "whole.tar") as whole, tarfile.open(tmp_path / "train-00000.tar", "w") as other:
        members = whole.getmembers()
        for number in order:
            other.addfile(members[number], whole.extractfile(members[number]))
    (tmp_path / "whole.tar").unlink()
    with pytest.raises(ExportError, match=message):
        list(formats()["webdataset"].read(Store(tmp_path), Reading(), Loss()))


def test_what_joins_examples_does_not_reach_the_instruction_of_mimic_it(tmp_path: Path) -> None:
    says = [
        ("hot", "demo_input"),
        (" -> ", None),
        ("cold", "demo_output"),
        ("\n", None),
        ("up", "query"),
        (" ->", None),
    ]
    asked = (Part("text", "The opposite."), *(Part("text", text, icl_role=role) for text, role in says))  # type: ignore[arg-type]
    messages = (Message("system", (Part("text", "Be brief."),)), Message("user", asked),
                Message("assistant", (Part("text", "down", icl_role="target", target=True),)))  # fmt: skip
    item = Item(Sample("0" * 32, "text_icl", "train", messages, "MIT", 1), {})
    loss = formats()["mimic_it"].write([item], Store(tmp_path))
    shown, query = json.loads((tmp_path / "train_instructions.json").read_text())["data"].values()
    assert (shown["instruction"], shown["answer"]) == ("hot", "cold")
    assert (query["instruction"], query["answer"]) == ("The opposite.\nup ->", "down")
    assert loss.lost["text part"] == 2  # the arrow of the example, and what the system said


def test_a_row_of_others_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    def entry(asked: str, answer: str = "null", **media: object) -> str:
        turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]
        return json.dumps({"id": 1, **media, "conversations": turns})

    source = tmp_path / "in [1]"
    store = llava_folder(source, {"a.webp": MEDIA["image"][0], "._a.webp": b"x"})
    store.write_bytes("videos/v.mp4", MEDIA["video"][0])
    store.write_bytes("._train.json", b"x")
    lines = [entry("A <image> b", image="a.webp"), entry("<video>?", video="v.mp4"), "{broken", entry("half \ud83d"),
             entry("<image>?"), '{"conversations": [{"from": "robot", "value": ""}]}', "[]", '{"id": 7}']  # fmt: skip
    (source / "train.json").write_text("\n".join(lines))
    loss = import_folder(str(source), "llava", str(tmp_path / "out #1"))
    told = {reject["row"].rpartition(":")[2]: reject["reason"] for reject in loss.rejects}
    assert loss.written == 2 and told == {
        "2": "no JSON", "3": "holds half a character (a lone surrogate)", "4": "more <image> than media",
        "5": "unknown speaker 'robot'", "6": "no JSON object", "7": "not as the format has it: 'conversations'"}  # fmt: skip
    assert json.loads((tmp_path / "out #1" / MARK).read_text())["rejects"] == loss.rejects
    found = list(formats()["webdataset"].read(Store(tmp_path / "out #1"), Reading(), Loss()))
    assert [[part.text or part.type for part in item.sample.parts()] for item in found] == [
        ["A ", "image", " b", "null"], ["video", "?", "null"]]  # fmt: skip


def test_parquet_rows_of_others_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    image = {"bytes": MEDIA["image"][0], "path": None}
    rows = [
        {"texts": ["a", None], "images": [None, image]},
        {"texts": ["a"], "images": [image]},
        {"texts": ["a"], "images": []},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train-00000.parquet")
    (tmp_path / "._train-00000.parquet").write_bytes(b"x")
    loss = Loss()
    assert len(list(formats()["obelics"].read(Store(tmp_path), Reading(), loss))) == 1
    assert [reject["reason"] for reject in loss.rejects] == [
        "an image and a text in one place", "images and texts are not as long as each other"]  # fmt: skip
