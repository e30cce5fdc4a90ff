"""Exports and imports: what is written comes back, what is lost is counted, and the real readers read it."""

from __future__ import annotations

import io
import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codi2_datasets.exports import ExportError, Item, Loss, Reading, formats
from codi2_datasets.exports.exporting import import_folder
from codi2_datasets.exports.trl import SCHEMA, item_of, row_of
from codi2_datasets.exports.webdataset import write_tar
from codi2_datasets.media.audio import encode_audio
from codi2_datasets.media.image import decode_image, encode_image
from codi2_datasets.media.video import encode_video
from codi2_datasets.sample import EXTENSIONS, Message, Part, Sample
from codi2_storage.store import Store

FOLDERS = itertools.count()
DRAW = np.random.default_rng(4)
MEDIA = {
    "image": [encode_image(DRAW.integers(0, 255, (16, 16, 3), dtype=np.uint8)) for _ in range(3)],
    "audio": [encode_audio(DRAW.standard_normal(800) * 0.1) for _ in range(3)],
    "video": [encode_video(DRAW.integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)) for _ in range(2)],
}
# what is told from what: words that formats use as marks, text without letters, any language
WORDS = st.one_of(
    st.sampled_from(["<image>", "a <image> b", "&lt;image&gt;", " ", "\n", "。", "'\"{}", "<|endofchunk|>"]),
    st.text(max_size=12),
)


@st.composite
def parts(draw: st.DrawFn, place: int, target: bool) -> tuple[Part, bytes | None]:
    kind = draw(st.sampled_from(["text", "text", "image", "audio", "video"]))
    role = "target" if target else draw(st.sampled_from([None, "query", "demo_input", "demo_output"]))
    asset = draw(st.sampled_from([None, "a" * 64]))
    if kind == "text":
        return Part("text", draw(WORDS), None, asset, role, target), None  # type: ignore[arg-type]
    member = f"{place:03d}.{EXTENSIONS[kind]}"
    return Part(kind, None, member, asset, role, target), draw(st.sampled_from(MEDIA[kind]))  # type: ignore[arg-type]


@st.composite
def items(draw: st.DrawFn) -> Item:
    media: dict[str, bytes] = {}
    messages, place = [], 0
    for turn in range(draw(st.integers(1, 4))):
        content = []
        for _ in range(draw(st.integers(1, 4))):
            part, data = draw(parts(place, target=turn % 2 == 1))
            content.append(part)
            if part.part is not None and data is not None:
                media[part.part] = data
            place += 1
        messages.append(Message("user" if turn % 2 == 0 else "assistant", tuple(content)))
    head = (draw(st.uuids()).hex, draw(st.sampled_from(["image_editing", "text_icl", "multi_turn"])))
    split = draw(st.sampled_from(["train", "validation", "test"]))
    meta = draw(st.dictionaries(st.text(max_size=4), st.text(max_size=6), max_size=2))
    return Item(Sample(*head, split, tuple(messages), "MIT", draw(st.integers(0, 2**31)), "", meta), media)


def in_splits(found: list[Item]) -> dict[str, list[Item]]:
    by_split: dict[str, list[Item]] = {}
    for item in found:
        by_split.setdefault(item.sample.split, []).append(item)
    return by_split


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(items(), min_size=1, max_size=5, unique_by=lambda item: item.sample.sample_id), st.data())
def test_what_is_written_comes_back(written: list[Item], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(formats())))
    store = Store(f"memory://{name}-{next(FOLDERS)}")
    loss = formats()[name].write(iter(written), store)
    assert loss.written + loss.left_out.total() == len(written)
    back = list(formats()[name].read(store, Reading(), Loss())) if loss.written else []
    assert len(back) == loss.written
    known = {item.sample.sample_id: item for item in written}
    assert all(item == known[item.sample.sample_id] for item in back)
    if not loss.left_out:
        assert in_splits(back) == in_splits(written)


@given(items())
@settings(max_examples=60, deadline=None)
def test_a_sample_goes_through_json_messages_and_parquet_unchanged(item: Item) -> None:
    assert Sample.from_json(item.sample.to_json()) == item.sample
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row_of(item)], schema=SCHEMA), buffer)
    row = pq.read_table(io.BytesIO(buffer.getvalue())).to_pylist()[0]
    assert item_of(row, Reading(), Loss(), item.sample.split, "0") == item
    # the columns that others read say the same, less the roles: without ours, messages and media come back in order
    again = item_of({**row, "codi2": None}, Reading(item.sample.task), Loss(), item.sample.split, "0")
    told = [[(m.role, p.type, p.text) for p in m.content] for m in item.sample.messages]
    assert [[(m.role, p.type, p.text) for p in m.content] for m in again.sample.messages] == told
    assert list(again.media.values()) == [item.media[p.part] for p in item.sample.parts() if p.part]


# --- a small set, and the readers of others ----------------------------------------------------------------------


def sample_set() -> list[Item]:
    """Twelve samples: captions with two examples, pictures asked for, sounds, and one that says <image> in its words."""
    found = []
    for n in range(12):
        picture, other = MEDIA["image"][n % 3], MEDIA["image"][(n + 1) % 3]
        shown = (Part("image", part="000.webp", icl_role="demo_input"), Part("text", f"thing {n}", icl_role="demo_output"),
                 Part("image", part="002.webp", icl_role="query"), Part("text", "What is it?"))  # fmt: skip
        reply = (Part("text", f"It is <image> {n}." if n == 0 else f"It is {n}.", icl_role="target", target=True),)
        media = {"000.webp": other, "002.webp": picture}
        if n % 4 == 1:
            reply = (Part("image", part="004.webp", icl_role="target", target=True),)
            media["004.webp"] = picture
        if n % 4 == 2:
            shown = (*shown, Part("audio", part="005.flac", icl_role="query"))
            media["005.flac"] = MEDIA["audio"][0]
        task = ("visual_question_answering", "image_editing", "joint_image_audio", "image_captioning")[n % 4]
        split = "test" if n % 6 == 5 else "train"
        sample = Sample(f"{n:032x}", task, split, (Message("user", shown), Message("assistant", reply)), "MIT", n)  # type: ignore[arg-type]
        found.append(Item(sample, media))
    return found


def exported(name: str, folder: Path) -> Loss:
    return formats()[name].write(iter(sample_set()), Store(folder))


@pytest.mark.parametrize("name", ["llava", "mimic_it"])
def test_formats_of_words_say_what_they_leave_out(name: str, tmp_path: Path) -> None:
    loss = exported(name, tmp_path)
    assert loss.left_out == Counter({"a picture in a reply": 3, "holds audio": 3}) and loss.written == 6
    assert loss.lost["in-context role"] == 6 * 4 and loss.lost["seed"] == 6


def test_a_mark_within_words_is_no_picture_to_llava(tmp_path: Path) -> None:
    loss = exported("llava", tmp_path)
    assert loss.lost["<image> within a text, escaped"] == 1
    for entry in json.loads((tmp_path / "train.json").read_text()):
        said = "".join(turn["value"] for turn in entry["conversations"])
        pictures = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
        assert said.count("<image>") == len(pictures) == 2
        assert all(decode_image((tmp_path / "images" / name).read_bytes()).size == (16, 16) for name in pictures)


def test_examples_are_related_instructions_in_mimic_it(tmp_path: Path) -> None:
    exported("mimic_it", tmp_path)
    data = json.loads((tmp_path / "train_instructions.json").read_text())["data"]
    images = json.loads((tmp_path / "train_images.json").read_text())
    queries = [entry for entry in data.values() if "codi2" in entry]
    assert queries and all(len(entry["rel_ins_ids"]) == 1 for entry in queries)
    for entry in data.values():
        assert all(name in images for name in entry["image_ids"]) and all(name in data for name in entry["rel_ins_ids"])
    shown = data[queries[0]["rel_ins_ids"][0]]
    assert shown["answer"].startswith("thing") and len(shown["image_ids"]) == 1
    assert json.loads((tmp_path / "train_train.json").read_text())[next(iter(data))] == []


def test_hugging_face_reads_messages_and_pictures(tmp_path: Path) -> None:
    import datasets

    exported("trl", tmp_path)
    found = datasets.load_dataset(
        "parquet", data_files={"train": f"{tmp_path}/train-*.parquet"}, cache_dir=str(tmp_path / "hf")
    )
    rows = found["train"]
    assert isinstance(rows.features["images"].feature, datasets.Image)
    assert [row["images"][0].size for row in rows] == [(16, 16)] * 10
    assert rows[0]["messages"][0]["content"][1] == {"type": "text", "text": "thing 0"}
    for row in rows:
        kinds = Counter(piece["type"] for message in row["messages"] for piece in message["content"])
        assert kinds["image"] == len(row["images"]) and kinds["audio"] == len(row["audios"])


def test_hugging_face_reads_documents(tmp_path: Path) -> None:
    import datasets

    exported("obelics", tmp_path)
    rows = datasets.load_dataset("parquet", data_files=f"{tmp_path}/train-*.parquet", cache_dir=str(tmp_path / "hf"))[
        "train"
    ]
    for row in rows:
        assert len(row["texts"]) == len(row["images"])
        assert all((text is None) != (image is None) for text, image in zip(row["texts"], row["images"], strict=True))


def test_webdataset_reads_the_shards(tmp_path: Path) -> None:
    import webdataset

    exported("webdataset", tmp_path)
    rows = list(webdataset.WebDataset(str(tmp_path / "train-00000.tar"), shardshuffle=False))
    assert [row["__key__"] for row in rows] == [
        item.sample.sample_id for item in sample_set() if item.sample.split == "train"
    ]
    assert all(Sample.from_json(row["json"]).sample_id == row["__key__"] for row in rows)
    assert rows[0]["000.webp"] == sample_set()[0].media["000.webp"]


def test_energon_reads_the_shards_by_its_index(tmp_path: Path) -> None:
    energon = pytest.importorskip("megatron.energon", reason="megatron-energon is not installed")
    exported("energon", tmp_path)

    @energon.stateless
    def cook(sample: dict) -> dict:
        return {**energon.basic_sample_keys(sample), "codi2": sample["json"], "picture": sample["000.webp"]}

    class Encoder(energon.DefaultTaskEncoder):
        cookers = (energon.Cooker(cook),)
        decoder = None

    workers = energon.WorkerConfig(rank=0, world_size=1, num_workers=0)
    found = energon.get_train_dataset(tmp_path, worker_config=workers, batch_size=None, shuffle_buffer_size=None,
                                      max_samples_per_sequence=None, task_encoder=Encoder(), repeat=False)  # fmt: skip
    rows = list(energon.get_loader(found)) if hasattr(energon, "get_loader") else list(found)
    written = {item.sample.sample_id: item for item in sample_set() if item.sample.split == "train"}
    assert len(rows) == len(written)
    for row in rows:
        sample = Sample.from_json(row["codi2"] if isinstance(row["codi2"], (bytes, str)) else json.dumps(row["codi2"]))
        assert (
            sample == written[sample.sample_id].sample and row["picture"] == written[sample.sample_id].media["000.webp"]
        )


# --- folders of others -------------------------------------------------------------------------------------------


def test_a_llava_folder_of_others_becomes_samples(tmp_path: Path) -> None:
    source = tmp_path / "llava"
    (source / "images").mkdir(parents=True)
    (source / "images" / "a.webp").write_bytes(MEDIA["image"][0])
    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A thing."}]
    (source / "train.json").write_text(json.dumps([{"id": "1", "image": "a.webp", "conversations": turns}]))
    loss = import_folder(str(source), "llava", str(tmp_path / "out"), Reading("visual_question_answering", "CC-BY-4.0"))
    assert loss.written == 1 and loss.lost["seed (not told)"] == 1
    item = next(formats()["webdataset"].read(Store(tmp_path / "out"), Reading(), Loss()))
    assert item.sample.licence == "CC-BY-4.0" and item.media == {"000.webp": MEDIA["image"][0]}
    assert [part.text for part in item.sample.parts()] == [None, "\nWhat is it?", "A thing."]
    assert [part.target for part in item.sample.parts()] == [False, False, True]


@pytest.mark.parametrize(("said", "message"), [("<image><image>", "more <image> than pictures"), ("", "fewer <image>")])
def test_pictures_and_marks_that_differ_in_number_are_an_error(said: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.webp").write_bytes(MEDIA["image"][0])
    turns = [{"from": "human", "value": said + "?"}, {"from": "gpt", "value": "A thing."}]
    (tmp_path / "train.json").write_text(json.dumps([{"id": "7", "image": "a.webp", "conversations": turns}]))
    with pytest.raises(ExportError, match=f"llava: train.json: 7: {message}"):
        list(formats()["llava"].read(Store(tmp_path), Reading(), Loss()))


def test_related_instructions_that_are_not_there_are_counted(tmp_path: Path) -> None:
    entry = {"instruction": "What?", "answer": "This.", "image_ids": ["gone"], "rel_ins_ids": ["nobody"]}
    (tmp_path / "train_instructions.json").write_text(json.dumps({"meta": {}, "data": {"one": entry}}))
    loss = Loss()
    found = list(formats()["mimic_it"].read(Store(tmp_path), Reading(), loss))
    assert len(found) == 1 and found[0].sample.parts()[-1].text == "This."
    assert loss.lost["a picture that is not there"] == 1 and loss.lost["a related instruction that is not there"] == 1


@pytest.mark.parametrize("name", sorted(formats()))
def test_an_empty_folder_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=str(tmp_path)):
        list(formats()[name].read(Store(tmp_path), Reading(), Loss()))


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_tar(tmp_path / "in" / "train-00000.tar", sample_set()[:1])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="holds other files already"):
        import_folder(str(tmp_path / "in"), "webdataset", str(tmp_path / "out"))
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"
