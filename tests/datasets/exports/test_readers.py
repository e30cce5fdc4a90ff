"""Exports as their real consumers read them: datasets, webdataset, Megatron Energon, Lance."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
import soundfile
from huggingface_hub import DatasetCard

from codi2_datasets.exports import Loss, Reading, formats
from codi2_datasets.formats.sample import Sample
from codi2_datasets.formats.tar import add_member
from codi2_datasets.media.image import decode_image
from codi2_storage.store import Store
from tests.datasets.exports.test_exports import MEDIA, exported, sample_set


@pytest.fixture
def energon() -> ModuleType:
    return pytest.importorskip("megatron.energon", reason="megatron-energon is not installed")


def energon_rows(energon: Any, folder: Path, cook: Callable[[dict], dict]) -> list[dict]:
    """The train split, each sample cooked by a function."""

    class Encoder(energon.DefaultTaskEncoder):
        cookers = (energon.Cooker(energon.stateless(cook)),)
        decoder = None

    workers = energon.WorkerConfig(rank=0, world_size=1, num_workers=0)
    found = energon.get_train_dataset(folder, worker_config=workers, batch_size=None, shuffle_buffer_size=None,
                                      max_samples_per_sequence=None, task_encoder=Encoder(), repeat=False)  # fmt: skip
    return list(energon.get_loader(found))


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


def test_energon_reads_the_shards_by_its_index(energon: Any, tmp_path: Path) -> None:
    exported("energon", tmp_path)

    def cook(sample: dict) -> dict:
        return {**energon.basic_sample_keys(sample), "codi2": sample["json"], "picture": sample["000.webp"]}

    rows = energon_rows(energon, tmp_path, cook)
    written = {item.sample.sample_id: item for item in sample_set() if item.sample.split == "train"}
    assert len(rows) == len(written)
    for row in rows:
        sample = Sample.from_json(row["codi2"])
        assert sample == written[sample.sample_id].sample
        assert row["picture"] == written[sample.sample_id].media["000.webp"]


def test_energon_reads_bagels_interleaved_rows_with_a_loss_mark_per_part(energon: Any, tmp_path: Path) -> None:
    loss = exported("bagel", tmp_path)
    assert loss.left_out == {"holds audio": 3} and "target mark" not in loss.lost and loss.lost["in-context role"] == 36

    def cook(row: dict) -> dict:
        """As BAGEL's recipes do: bytes of image0, image1, ..., and a JSON that says what they are."""
        about = json.loads(row["json"])
        images = [decode_image(row[f"image{number}"]).size for number in range(about["image_count"])]
        plan: list[dict] = []
        for part in about["parts"]:
            kinds = ["text"] if part["type"] == "text" else []
            kinds += ["vae_image loss"] * (part["type"] == "image" and part["need_loss"])
            kinds += ["vae_image"] * part.get("need_vae", 0) + ["vit_image"] * part.get("need_vit", 0)
            plan += [[kind, part["need_loss"]] for kind in kinds]
        return {**energon.basic_sample_keys(row), "images": images, "plan": plan}

    rows = {row["__key__"].rpartition("/")[2]: row for row in energon_rows(energon, tmp_path, cook)}
    kept = [item.sample for item in sample_set() if item.sample.split == "train" and "005.flac" not in item.media]
    assert sorted(rows) == sorted(sample.sample_id for sample in kept)
    text, seen, shown = ["text", 0], ["vit_image", 0], [["vae_image", 0], ["vit_image", 0]]
    assert rows[f"{0:032x}"]["plan"] == [seen, text, seen, text, ["text", 1]]
    assert rows[f"{1:032x}"]["plan"] == [*shown, text, *shown, text, ["vae_image loss", 1]]
    assert len(rows[f"{1:032x}"]["images"]) == 3


def test_bagels_rows_of_others_become_turns_by_their_losses(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Draw it.", "need_loss": 0}, {"type": "image", "need_loss": 1}]
    with tarfile.open(tmp_path / "train-00000.tar", "w") as archive:
        add_member(archive, "a.image0", MEDIA["image"][0])
        add_member(archive, "a.json", json.dumps({"image_count": 1, "parts": parts}).encode())
        add_member(archive, "b.json", json.dumps({"image_count": 1, "parts": parts}).encode())
    loss = Loss()
    (item,) = formats()["bagel"].read(Store(tmp_path), Reading("text_to_image"), loss)
    assert [(m.role, [(p.type, p.target) for p in m.content]) for m in item.sample.messages] == [
        ("user", [("text", False)]), ("assistant", [("image", True)])]  # fmt: skip
    assert item.media == {"001.webp": MEDIA["image"][0]}
    assert loss.rejects == [{"row": "train-00000.tar:b", "reason": "not as the format has it: 'image0'"}]


def test_hugging_face_loads_the_folder_with_a_config_per_task_and_media_features(tmp_path: Path) -> None:
    import datasets

    assert exported("hf", tmp_path / "out").lost == Counter()
    folder, cache = str(tmp_path / "out"), str(tmp_path / "cache")
    tasks = {item.sample.task for item in sample_set()}
    assert set(datasets.get_dataset_config_names(folder)) == tasks
    rows = datasets.load_dataset(folder, "joint_image_audio", split="train", cache_dir=cache)
    features = [rows.features[column].feature for column in ("images", "audios", "videos")]
    assert [type(feature) for feature in features] == [datasets.Image, datasets.Audio, datasets.Video]
    plain = rows.cast_column("audios", datasets.List(datasets.Audio(decode=False)))
    wave, rate = soundfile.read(io.BytesIO(plain[0]["audios"][0]["bytes"]))
    assert rate == 16_000 and len(wave) == 800 and plain[0]["images"][0].size == (16, 16)
    reply = plain[0]["messages"][1]["content"][0]
    assert (reply["icl_role"], reply["target"], reply["text"]) == ("target", True, "It is 2.")
    splits = datasets.get_dataset_split_names(folder, "image_editing")
    card = DatasetCard.load(f"{folder}/README.md")
    assert set(splits) == {"train", "test"} and (card.data.license, card.data.size_categories) == ("mit", ["n<1K"])


def test_lance_reads_samples_and_single_media_at_random(tmp_path: Path) -> None:
    lance = pytest.importorskip("lance", reason="pylance is not installed")
    assert exported("lance", tmp_path).written == 12
    samples, media = lance.dataset(str(tmp_path / "samples.lance")), lance.dataset(str(tmp_path / "media.lance"))
    (row,) = samples.to_table(filter="task = 'joint_image_audio' and seed = 6").to_pylist()
    written = sample_set()[6]
    assert (row["sample_id"], row["n_demos"], row["licence"]) == (written.sample.sample_id, 1, "MIT")
    assert [blob.readall() for blob in media.take_blobs("data", indices=row["media"])] == [*written.media.values()]
    about = media.take(row["media"], columns=["member", "modality", "icl_role"]).to_pylist()
    assert about[2] == {"member": "005.flac", "modality": "audio", "icl_role": "query"}


def test_lance_rows_of_others_become_samples(tmp_path: Path) -> None:
    lance = pytest.importorskip("lance", reason="pylance is not installed")
    asked = {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "What is it?"}]}
    told = [asked, {"role": "assistant", "content": [{"type": "text", "text": "Noise."}]}]
    lance.write_dataset(pa.Table.from_pylist([{"messages": told, "media": [0]}]), tmp_path / "samples.lance")
    blobs = pa.schema([("modality", pa.string()), lance.blob_field("data")])
    table = pa.table([pa.array(["image"]), lance.blob_array([MEDIA["image"][0]])], schema=blobs)
    lance.write_dataset(table, tmp_path / "media.lance")
    (item,) = formats()["lance"].read(Store(tmp_path), Reading("image_captioning"), Loss())
    assert item.media == {"000.webp": MEDIA["image"][0]} and item.sample.parts()[2].target
