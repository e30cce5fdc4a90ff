"""A build on a schedule: what is new comes in, nothing new publishes nothing, what failed for now is tried again."""

from __future__ import annotations

import hashlib
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from codi2_datasets import build as library
from codi2_datasets.opt_out import forget
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.diff import changes
from codi2_storage.commits.manifests import commits
from codi2_storage.gc.collector import collect
from codi2_storage.gc.compact import compact
from codi2_storage.gc.retention import Policy
from codi2_storage.store import Store

LATER = 4e9


def photo(number: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


class Photos:
    """Photographs with captions as COCO publishes them, in a folder or a bucket that grows."""

    def __init__(self, at: str) -> None:
        self.store, self.count = Store(at), 0

    def add(self, number: int, without: int = 0) -> None:
        """So many more, and a new list; the last `without` of them are listed before they are there."""
        for n in range(self.count, self.count + number - without):
            self.store.write_bytes(f"images/{n:06d}.jpg", photo(n))
        self.count += number
        images = [{"id": n, "file_name": f"{n:06d}.jpg", "width": 24, "height": 24} for n in range(self.count)]
        told = [{"id": n, "image_id": n, "caption": f"A photograph of thing {n}."} for n in range(self.count)]
        self.store.write_bytes("captions_train.json", json.dumps({"images": images, "annotations": told}).encode())

    def recipe(self, folder: Path, shard: int = 8) -> str:
        corpus = {"name": "coco", "path": f"{self.store.uri()}/captions_train.json", "media": f"{self.store.uri()}/images",
                  "options": {"licence": "LicenseRef-research"}}  # fmt: skip
        tasks = {task: {"train": 400} for task in ("text_to_image", "image_captioning")}
        splits = {
            name: 0.0
            for name in ("test_concepts", "validation_concepts", "test_combinations", "validation_combinations")
        }
        said = {
            "name": "growing",
            "seed": 1,
            "image": {"size": 32},
            "signals": [{"op": "length"}],
            "shards": {"samples": shard},
        }
        path = folder / "growing.yaml"
        path.write_text(yaml.safe_dump({**said, "corpora": [corpus], "splits": splits, "tasks": tasks}))
        return str(path)


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    found = Photos(str(tmp_path / "photos"))
    found.add(40)
    return found


def run(recipe: str, root: object) -> library.Built:
    return library.build(library.Settings(recipe, str(root), workers=2))


def parent(root: object, build_id: str) -> str | None:
    return Catalog(str(root)).sql("select parent from builds", build=build_id).to_pylist()[0]["parent"]


def sums(root: Path, build_id: str) -> dict[str, str]:
    names = [row["shard"] for row in Catalog(str(root)).sql("select shard from shards", build=build_id).to_pylist()]
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names}


def test_a_folder_that_did_not_grow_gives_no_version_and_one_that_did_a_delta(
    photos: Photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, root = photos.recipe(tmp_path), tmp_path / "root"
    first = run(recipe, root)
    began = time.monotonic()
    again = run(recipe, root)
    assert again.build_id == first.build_id and not again.fresh and time.monotonic() - began < 20
    photos.add(1)
    grown = run(recipe, root)
    assert grown.fresh and grown.build_id != first.build_id and parent(root, grown.build_id) == first.build_id
    rows, samples, shards = changes(str(root), first.build_id, grown.build_id)
    assert (rows.added, rows.removed, rows.kept) == (1, 0, 40)
    assert 0 < samples.added < samples.kept and shards.added > 0 and shards.kept
    capsys.readouterr()
    library.say_changes(grown, str(root))
    library.say_changes(again, str(root))
    told = capsys.readouterr().err
    assert f"since build {first.build_id}: rows +1 -0 =40; samples +" in told
    assert f"nothing new since build {first.build_id}" in told
    assert sums(root, grown.build_id) == sums(tmp_path / "fresh", run(recipe, tmp_path / "fresh").build_id)


def test_a_file_that_cannot_be_read_is_tried_again_until_it_can(photos: Photos, tmp_path: Path) -> None:
    recipe, root = photos.recipe(tmp_path), tmp_path / "root"
    photos.add(1, without=1)
    lost = Path(photos.store.base) / "images" / "000040.jpg"
    lost.symlink_to(tmp_path / "not there yet.jpg")
    first = run(recipe, root)
    assert first.fresh and first.failed == 1
    failed = Catalog(str(root)).sql("select reason, error from rejects where stage = 'ingest'").to_pylist()
    assert [row["error"] for row in failed] == ["for now: its file cannot be read (No such file or directory)"]
    assert Catalog(str(root)).sql("select sum(failed)::int as n from op_runs where stage = 'ingest'").to_pylist() == [
        {"n": 1}
    ]
    ingests = len(commits(Store(root), "ingest"))
    again = run(recipe, root)
    assert (again.build_id, again.fresh, again.failed) == (first.build_id, False, 1)
    assert len(commits(Store(root), "build")) == 1 and len(commits(Store(root), "ingest")) == ingests
    (tmp_path / "not there yet.jpg").write_bytes(photo(40))
    whole = run(recipe, root)
    assert whole.fresh and whole.failed == 0 and parent(root, whole.build_id) == first.build_id
    assert not run(recipe, root).fresh
    assert sums(root, whole.build_id) == sums(tmp_path / "fresh", run(recipe, tmp_path / "fresh").build_id)


def test_samples_whose_media_could_not_be_read_come_with_the_next_build(photos: Photos, tmp_path: Path) -> None:
    recipe, root = photos.recipe(tmp_path), tmp_path / "root"
    prepared = library.prepare(library.Settings(recipe, str(root), workers=2))
    ingests = library.ingest(prepared)
    away = [(path, path.with_suffix(".away")) for path in (root / "assets").glob("*.tar")]
    for here, there in away:
        here.rename(there)
    first = library.assemble(prepared, ingests)
    assert first.failed > 40 and first.samples == 0 and first.build_id != prepared.build_id
    again = run(recipe, root)
    assert (again.build_id, again.fresh, again.failed) == (first.build_id, False, first.failed)
    for here, there in away:
        there.rename(here)
    whole = run(recipe, root)
    assert whole.fresh and whole.build_id == prepared.build_id and parent(root, whole.build_id) == first.build_id
    assert sums(root, whole.build_id) == sums(tmp_path / "fresh", run(recipe, tmp_path / "fresh").build_id)
    for row in Catalog(str(root)).sql("select shard, sha256 from shards", all_builds=True).to_pylist():
        assert hashlib.sha256((root / row["shard"]).read_bytes()).hexdigest() == row["sha256"]  # the lacking ones, too


@pytest.mark.slow
def test_compaction_and_collection_between_builds_change_no_byte(photos: Photos, tmp_path: Path) -> None:
    recipe, root = photos.recipe(tmp_path), tmp_path / "root"
    first = run(recipe, root)
    compact(Store(root), least=1)
    photos.add(3)
    second = run(recipe, root)
    compact(Store(root), least=1)
    collect(Store(root), Policy(keep=1, grace=0), now=LATER)
    assert [commit.id for commit in commits(Store(root), "build")] == [second.build_id] != [first.build_id]
    photos.add(2)
    third = run(recipe, root)
    assert sums(root, third.build_id) == sums(tmp_path / "fresh", run(recipe, tmp_path / "fresh").build_id)
    asset = Catalog(str(root)).sql("select source_row_id from assets where shard is not null limit 1").to_pylist()[0]
    forgetting = forget(str(root), [asset["source_row_id"]])
    collect(Store(root), Policy(keep=2, grace=0), now=LATER)
    assert {commit.id for commit in commits(Store(root), "build")} == {forgetting}  # both others showed it
    after = run(recipe, root)
    assert after.fresh and after.samples


@pytest.mark.slow
def test_a_bucket_that_grows_is_taken_in_as_a_folder_is(bucket: str, tmp_path: Path) -> None:
    photos = Photos(f"{bucket}/photos")
    photos.add(10)
    recipe, root = photos.recipe(tmp_path, shard=1_000), f"{bucket}/root"
    first = run(recipe, root)
    assert not run(recipe, root).fresh
    photos.add(2)
    grown = run(recipe, root)
    assert grown.fresh and parent(root, grown.build_id) == first.build_id
    compact(Store(root), least=1)
    collect(Store(root), Policy(keep=1, grace=0), now=LATER)
    assert [commit.id for commit in commits(Store(root), "build")] == [grown.build_id]
    assert not run(recipe, root).fresh
