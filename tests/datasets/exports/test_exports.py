"""Exports and imports: what is written comes back, what is lost is counted, and the real readers read it."""

from __future__ import annotations

import io
import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from codi2_datasets.exports import ExportError, Item, Loss, Reading, formats
from codi2_datasets.exports.exporting import clear, import_folder
from codi2_datasets.exports.foreign import Unusable, medium
from codi2_datasets.exports.webdataset import lots, write_tar
from codi2_datasets.formats.sample import Message, Part, Sample
from codi2_datasets.media.audio import encode_audio
from codi2_datasets.media.image import decode_image, encode_image
from codi2_datasets.media.video import decode_video, encode_video
from codi2_storage.store import Store
from tests.datasets import media_files as files

DRAW = np.random.default_rng(4)
MEDIA = {
    "image": [encode_image(DRAW.integers(0, 255, (16, 16, 3), dtype=np.uint8)) for _ in range(3)],
    "audio": [encode_audio(DRAW.standard_normal(800) * 0.1) for _ in range(3)],
    "video": [encode_video(DRAW.integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)) for _ in range(2)],
}


# --- a small set, and what formats say of it ----------------------------------------------------------------------


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


NAMES = [
    pytest.param(name, marks=pytest.mark.skipif(name == "lance" and find_spec("lance") is None, reason="no pylance"))
    for name in sorted(formats())
]


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


@pytest.mark.parametrize(
    ("said", "reason"),
    [("<image><image>", "more <image> than media"), ("", "fewer marks than media: image"), ("<video>", "more <video> than media")],
)  # fmt: skip
def test_an_entry_whose_marks_are_not_as_many_as_its_media_is_a_reject(said: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.webp").write_bytes(MEDIA["image"][0])
    turns = [{"from": "human", "value": said + "?"}, {"from": "gpt", "value": "A thing."}]
    (tmp_path / "train.json").write_text(json.dumps([{"id": "7", "image": "a.webp", "conversations": turns}]))
    loss = Loss()
    assert not list(formats()["llava"].read(Store(tmp_path), Reading(), loss))
    assert loss.rejects == [{"row": "train.json:0", "reason": reason}] and loss.left_out == {reason: 1}


def test_related_instructions_that_are_not_there_are_counted(tmp_path: Path) -> None:
    entry = {"instruction": "What?", "answer": "This.", "image_ids": ["gone"], "rel_ins_ids": ["nobody"]}
    (tmp_path / "train_instructions.json").write_text(json.dumps({"meta": {}, "data": {"one": entry}}))
    loss = Loss()
    found = list(formats()["mimic_it"].read(Store(tmp_path), Reading(), loss))
    assert len(found) == 1 and found[0].sample.parts()[-1].text == "This."
    assert loss.lost["a picture that is not there"] == 1 and loss.lost["a related instruction that is not there"] == 1


@pytest.mark.parametrize("name", NAMES)
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


def llava_folder(folder: Path, pictures: dict[str, bytes], *shown: str) -> Store:
    """A folder of others: one question for each picture named."""
    for name, data in pictures.items():
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_bytes(data)
    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A thing."}]
    (folder / "train.json").write_text(
        json.dumps([{"id": "1", "image": name, "conversations": turns} for name in shown])
    )
    return Store(folder)


def test_pictures_of_others_become_webp_and_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    png = io.BytesIO()
    Image.fromarray(DRAW.integers(0, 255, (9, 7, 3), dtype=np.uint8)).save(png, "PNG")
    there = {"coco/a.png": png.getvalue(), "b.jpg": b"not a picture"}
    source = llava_folder(tmp_path / "in", there, "coco/a.png", "b.jpg", "gone.png", "../train.json", "coco/a.png")
    loss = Loss()
    found = list(formats()["llava"].read(source, Reading(), loss))
    assert [decode_image(item.media["000.webp"]).tobytes() for item in found] == [
        decode_image(png.getvalue()).tobytes()
    ] * 2
    assert all(item.media["000.webp"][8:12] == b"WEBP" for item in found)
    assert found[0].sample.sample_id != found[1].sample.sample_id  # the same words and id: two entries all the same
    reasons = ("image that cannot be read", "image that is not there", "image out of the folder")
    assert loss.left_out == Counter(dict.fromkeys(reasons, 1)) and loss.written == 2


def test_messages_of_others_get_sounds_of_our_rate(tmp_path: Path) -> None:
    wave = io.BytesIO()
    soundfile.write(wave, DRAW.standard_normal((4410, 2)) * 0.1, 44_100, format="WAV")
    asked = {"role": "user", "content": [{"type": "audio", "text": None}, {"type": "text", "text": "What is it?"}]}
    told = [asked, {"role": "assistant", "content": [{"type": "text", "text": "Noise."}]}]
    rows = [{"messages": told, "audios": [{"bytes": data, "path": "a.wav"}]} for data in (wave.getvalue(), None)]
    pq.write_table(pa.Table.from_pylist([*rows, {"messages": told, "audios": []}]), tmp_path / "train-00000.parquet")
    loss = Loss()
    found = list(formats()["trl"].read(Store(tmp_path), Reading("audio_captioning"), loss))
    assert len(found) == 1 and loss.left_out == {"audio that is not there": 2}
    info = soundfile.info(io.BytesIO(found[0].media["000.flac"]))
    assert (info.format, info.samplerate, info.channels, info.frames) == ("FLAC", 16_000, 1, 1600)


def test_media_that_are_as_samples_hold_them_stay_as_they_are() -> None:
    loud = encode_audio(np.array([-1.0, 0.5, 0.0]))  # would be lowered, were it made again
    assert medium("audio", loud) == loud
    for kind, data in MEDIA.items():
        assert [medium(kind, one) for one in data] == data
    with pytest.raises(Unusable, match="video that is not MP4"):
        medium("video", MEDIA["image"][0])


def test_media_of_others_are_what_a_viewer_shows() -> None:
    scene = files.scene()
    turned = medium("image", files.stored(scene, 6, "WEBP"))
    assert files.unlike(Image.open(io.BytesIO(turned)), files.turned(scene, 6)) < 1
    clip = decode_video(medium("video", files.video([scene] * 8, turn=(-90,))))
    assert clip.shape == (8, 256, 256, 3) and np.argwhere(clip[4].min(axis=2) < 240).max(axis=0).tolist()[0] > 250
    for data in (b"RIFF\0\0\0\0WEBP", b""):
        with pytest.raises(Unusable):
            medium("image", data)


# --- what must not be lost ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_export_is_the_same_bytes_twice_and_replaces_itself(name: str, tmp_path: Path) -> None:
    first, second = Store(tmp_path / "a"), Store(tmp_path / "b")
    for store in (first, second, second):
        clear(store, "webdataset")
        formats()[name].write(iter(sample_set()), store)
    if name == "lance":  # which names its files at random: equal rows
        read = formats()[name].read
        assert list(read(first, Reading(), Loss())) == list(read(second, Reading(), Loss()))
        return
    assert first.list() == second.list()
    assert all(first.read_bytes(path) == second.read_bytes(path) for path in first.list())


def test_a_shard_ends_where_its_media_grow_too_large() -> None:
    items = sample_set()
    assert [len(lot) for _, _, lot in lots(items, 1000)] == [2, 10]  # test, train
    sizes = sum(len(data) for data in items[0].media.values())
    by_bytes = list(lots([item for item in items if item.sample.split == "train"], 1000, most=sizes + 1))
    assert all(len(lot) <= 2 for _, _, lot in by_bytes) and [number for _, number, _ in by_bytes] == [
        *range(len(by_bytes))
    ]


def test_what_others_put_beside_an_export_is_not_removed(tmp_path: Path) -> None:
    clear(Store(tmp_path), "trl")
    exported("trl", tmp_path)
    (tmp_path / "notes.md").write_text("mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ExportError, match=r"holds other files already, as notes\.md"):
        clear(Store(tmp_path), "trl")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
