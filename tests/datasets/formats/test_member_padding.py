"""Hugging Face's `datasets` reads shards whose samples have different members, and nobody else notices."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codi2_datasets.exports import Item, formats
from codi2_datasets.exports import webdataset as tars
from codi2_datasets.exports.base import Items
from codi2_datasets.formats.member_padding import FIRST, PLACEHOLDERS, add_sample, members_of
from codi2_datasets.formats.sample import Message, Part, Sample
from codi2_datasets.media.audio import decode_audio
from codi2_datasets.media.image import decode_image, encode_image
from codi2_datasets.media.video import decode_video
from codi2_datasets.opt_out import without
from codi2_storage.store import Store

IMAGE = encode_image(np.full((8, 8, 3), 128, np.uint8))


def item(n: int, images: int, split: str = "train") -> Item:
    """A sample with so many images, at every other position; its JSON has keys that not every sample has."""
    shown = [
        part
        for k in range(images)
        for part in (Part("image", part=f"{2 * k:03d}.webp", asset_id=f"{k}"), Part("text", "then"))
    ]
    reply = (Part("text", f"answer {n}", icl_role="target", target=True),)
    messages = (Message("user", (*shown, Part("text", "?"))), Message("assistant", reply))
    meta = {"relation": "r"} if n % 2 else {"style": "ink"}
    sample = Sample(f"{n:032x}", "exemplar_learning", split, messages, "MIT", n, meta=meta)  # type: ignore[arg-type]
    return Item(sample, {f"{2 * k:03d}.webp": IMAGE for k in range(images)})


def read_by_hugging_face(files: list[Path], streaming: bool, cache: Path) -> list[dict[str, Any]]:
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    names = [str(file) for file in files]
    return list(
        datasets.load_dataset("webdataset", data_files=names, split="train", streaming=streaming, cache_dir=str(cache))
    )


def found_in(row: dict[str, Any]) -> list[str]:
    """Names of the parts of a row's JSON, each of which must be there, decoded and its own."""
    names = [part["part"] for message in row["json"]["messages"] for part in message["content"] if part.get("part")]
    assert all(row[name].size == (8, 8) for name in names)
    return names


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "map"])
@pytest.mark.parametrize("known", [True, False], ids=["members known before", "members found out"])
def test_hugging_face_reads_an_export_whole(
    known: bool, streaming: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tars, "SAMPLES", 8)
    items = [item(n, 1 + n // 5 % 4) for n in range(30)]  # the first tar lacks what later ones hold
    store = Store(tmp_path / "out")
    told = Items(iter(items), members_of(one.sample for one in items)) if known else iter(items)
    formats()["webdataset"].write(told, store)
    files = sorted((tmp_path / "out").glob("*.tar"))
    assert len(files) == 4
    rows = read_by_hugging_face(files, streaming, tmp_path / "cache")
    assert [row["__key__"] for row in rows] == [one.sample.sample_id for one in items]
    assert [found_in(row) for row in rows] == [list(one.media) for one in items]
    assert [row["json"]["meta"].get("style") for row in rows] == [one.sample.meta.get("style") for one in items]
    back = [one for file in files for one in tars.read_tar(str(file), file.name)]
    assert back == items  # no placeholder is read back


def shard(items: list[Item], members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number, one in enumerate(items):
            add_sample(archive, number, one.sample, one.media, members)
    return buffer.getvalue()


def test_the_first_samples_hold_every_member_and_no_others_do() -> None:
    items = [item(n, 1 + n % 4) for n in range(12)]
    members = members_of(one.sample for one in items)
    with tarfile.open(fileobj=io.BytesIO(shard(items, members))) as archive:
        names = archive.getnames()
    for number, one in enumerate(items):
        held = [name.partition(".")[2] for name in names if name.startswith(one.sample.sample_id)]
        assert held[: 1 + len(one.media)] == ["json", *one.media]
        assert set(held[1:]) == (set(members) if number < FIRST else set(one.media))


def test_a_shard_without_some_samples_is_as_if_they_had_never_been() -> None:
    items = [item(n, 1 + n % 4) for n in range(12)]
    members = members_of(one.sample for one in items)
    lost = {items[n].sample.sample_id for n in (0, 2, 3, 9)}
    left = [one for one in items if one.sample.sample_id not in lost]
    content, samples, _ = without(shard(items, members), lost, set(), sorted(members))
    assert content == shard(left, members) and samples == 8


def test_placeholders_are_media_of_their_kind() -> None:
    assert decode_image(PLACEHOLDERS["image"]).size == (1, 1)
    assert len(decode_audio(PLACEHOLDERS["audio"])) == 1 and len(decode_video(PLACEHOLDERS["video"])) == 1
