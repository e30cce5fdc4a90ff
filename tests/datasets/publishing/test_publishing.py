"""What a build says about itself: every work is named, the metadata loads, the card's code runs, bytes stay the same."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_datasets.formats.sample import Message, Part, Sample
from codi2_datasets.formats.tar import add_member
from codi2_datasets.planning.licences import KNOWN
from codi2_datasets.publishing import attribution, card, croissant, describe, plots
from codi2_datasets.publishing.card import table
from codi2_datasets.publishing.figures import checked
from codi2_datasets.publishing.licence_links import asks_share_alike, text_of
from codi2_datasets.publishing.loading import LOADING
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Manifest, Writer, committed
from codi2_storage.store import Store

BUILD = "0123456789ab"
SPEC = {"image": {"size": 64}, "audio": {"sample_rate": 16000, "max_seconds": 5.0}}


def work(name: str, corpus: str, modality: str, author: str, licence: str, url: str = "") -> dict[str, Any]:
    return {"name": name, "corpus": corpus, "modality": modality, "author": author, "licence": licence, "url": url}


WORKS = [
    work("dog", "drawings", "image", "Ann", "CC-BY-SA-4.0"),
    work("cat", "drawings", "image", "Ann", "CC-BY-SA-4.0"),
    work("unseen", "drawings", "image", "Ann", "CC-BY-SA-4.0"),
    work("bell", "sounds", "audio", "Bo", "CC0-1.0", "https://example.org/bell"),
    work("horn", "sounds", "audio", "Cy | Di", "CC-BY-3.0"),
    work("rain", "sounds", "audio", "Eve", "CC0-1.0"),
    work("hidden", "sounds", "audio", "Nobody", "CC0-1.0"),
]
SOUND = {"corpus": "sounds", "modality": "audio", "split": "train", "source_row_id": "r-bell"}
# a mixture, and an echo of the mixture: what the echo was made of is two steps back; a third is never shown
MADE = [
    {**SOUND, "asset_id": "mixed", "op": "mix", "licence": "CC-BY-3.0", "inputs": ["bell", "horn"]},
    {**SOUND, "asset_id": "echo", "op": "echo", "licence": "CC-BY-3.0", "inputs": ["mixed", "rain"]},
    {**SOUND, "asset_id": "spare", "op": "mix", "licence": "CC0-1.0", "inputs": ["hidden"]},
]
SAMPLES = [
    Sample("s1", "text_to_image", "train", (
        Message("user", (Part("text", "a dog"),)),
        Message("assistant", (Part("image", None, "001.webp", "dog", "target", True),)),
    ), "CC-BY-SA-4.0", 1),
    Sample("s2", "audio_editing", "train", (
        Message("user", (Part("text", "louder"), Part("audio", None, "001.flac", "echo", "query"))),
        Message("assistant", (Part("text", "Here:", None, None, None, True),)),
    ), "CC-BY-3.0", 2),
    Sample("s3", "text_to_image", "test", (
        Message("user", (Part("text", "a cat"),)),
        Message("assistant", (Part("image", None, "001.webp", "cat", "target", True),)),
    ), "CC-BY-SA-4.0", 3, "concept"),
]  # fmt: skip


def shard_of(sample: Sample) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        add_member(archive, f"{sample.sample_id}.json", sample.to_json().encode())
        for part in sample.parts():
            if part.part:
                add_member(archive, f"{sample.sample_id}.{part.part}", b"media")
    return buffer.getvalue()


def publish(store: Store) -> None:
    """One small build with its shards, written as builds are."""
    with Writer(store, "ingested", "ingest") as writer:
        for corpus, source in (("drawings", "npm:drawings@1.0.0"), ("sounds", "deb:sounds")):
            told = {
                "corpus": corpus,
                "revision": "1",
                "source": source,
                "version": "1.0",
                "description": f"Some {corpus}",
            }
            writer.append("corpora", [told])
        writer.append("source_rows", [
            {"source_row_id": f"r-{w['name']}", "corpus": w["corpus"], "revision": "1", "locator": f"files/{w['name']}",
             "licence": w["licence"], "author": w["author"]} for w in WORKS])  # fmt: skip
        run = {"build_id": "ingested", "stage": "ingest", "op": "normalise", "op_version": "1", "params": "{}"}
        writer.append("op_runs", [{**run, "rows_in": 8, "rows_out": 7, "rejected": 1, "failed": 0}])
        writer.append("rejects", [{"subject": "x", "stage": "ingest", "op": "normalise", "reason": "blank"}])
    head = {"build_id": BUILD, "recipe": "tiny", "recipe_hash": "feed", "status": "published", "samples": len(SAMPLES)}
    with Writer(store, BUILD, "build", uses=["ingested"], info={"created_at": "2026-01-02T03:04:05+00:00"}) as writer:
        told = {"spec": json.dumps(SPEC), "code_version": "0.1.0+abc", "created_at": "2026-01-02T03:04:05+00:00"}
        writer.append("builds", [{**head, **told}])
        selected = [
            {"asset_id": w["name"], "source_row_id": f"r-{w['name']}", "corpus": w["corpus"], "licence": w["licence"],
             "modality": w["modality"], "caption": w["name"], "split": "test" if w["name"] == "cat" else "train",
             "attributes": json.dumps({"url": w["url"]} if w["url"] else {})} for w in WORKS]  # fmt: skip
        writer.append("assets", [*selected, *MADE])
        samples, parts, shards = [], [], []
        for sample in SAMPLES:
            data = shard_of(sample)
            name = f"shards/{sample.task}/{sample.split}-00000-{sample.sample_id}.tar"
            store.write_bytes(name, data)
            shards.append({
                "build_id": BUILD, "shard": name, "task": sample.task, "split": sample.split, "samples": 1,
                "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})  # fmt: skip
            samples.append({
                "build_id": BUILD, "sample_id": sample.sample_id, "task": sample.task, "split": sample.split,
                "holdout": sample.holdout, "language": "en", "n_parts": len(sample.parts()), "n_demos": 0,
                "licence": sample.licence, "shard": name, "seed": sample.seed})  # fmt: skip
            told = [
                (turn, message.role, part) for turn, message in enumerate(sample.messages) for part in message.content
            ]
            parts += [
                {"build_id": BUILD, "sample_id": sample.sample_id, "position": n, "turn": turn, "role": role,
                 "modality": part.type, "text": part.text, "asset_id": part.asset_id, "icl_role": part.icl_role,
                 "target": part.target} for n, (turn, role, part) in enumerate(told)]  # fmt: skip
        for name, rows in (("samples", samples), ("parts", parts), ("shards", shards)):
            writer.append(name, rows)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published build, described in its folder."""
    folder = tmp_path_factory.mktemp("root")
    store = Store(str(folder))
    publish(store)
    with Catalog(store).connect(BUILD) as connection:
        for name, data in describe(connection, BUILD, manifests(folder)).items():
            store.write_bytes(f"builds/{BUILD}/{name}", data)
    return folder


@pytest.fixture
def connection(root: Path) -> duckdb.DuckDBPyConnection:
    return Catalog(str(root)).connect(BUILD)


def manifests(root: Path) -> list[Manifest]:
    commit = committed(Store(str(root)), BUILD, "build")
    assert commit is not None
    return commit.files


def test_every_work_that_is_shown_is_named_and_no_other(connection: duckdb.DuckDBPyConnection) -> None:
    told = attribution(connection)
    assert told.startswith("ATTRIBUTION of 5 works\n")
    assert "npm:drawings@1.0.0, version 1.0" in told and "        2 pictures by Ann, CC-BY-SA-4.0" in told
    assert "Nobody" not in told and "hidden" not in told and "unseen" not in told


def test_works_are_named_one_by_one_where_authors_differ(connection: duckdb.DuckDBPyConnection) -> None:
    told = attribution(connection)
    assert '    files/bell: "bell" by Bo, CC0-1.0, https://example.org/bell' in told
    assert '    files/horn: "horn" by Cy | Di, CC-BY-3.0\n' in told
    assert "files/dog" not in told


def test_made_media_say_what_they_are_made_of_however_many_steps_back(connection: duckdb.DuckDBPyConnection) -> None:
    told = attribution(connection)
    for op in ("echo", "mix"):
        said = f"  1 sounds made by {op}, CC-BY-3.0, of works from\n    sounds (CC-BY-3.0)\n    sounds (CC0-1.0)\n"
        assert said in told


def test_changes_licence_texts_and_share_alike_are_told(connection: duckdb.DuckDBPyConnection) -> None:
    told = attribution(connection)
    plain = " ".join(told.split())
    assert "drawn at 64 by 64 pixels, sounds were mixed down to one channel of 16,000 samples a second" in plain
    assert "CC-BY-3.0: https://creativecommons.org/licenses/by/3.0/" in told
    assert "where licence not in ('CC-BY-SA-4.0')" in told
    assert max(len(line) for line in told.splitlines()) <= 120


@pytest.mark.parametrize("licence", KNOWN)
def test_every_licence_that_may_be_mixed_has_a_text(licence: str) -> None:
    assert str(text_of(licence)).startswith("https://")
    assert asks_share_alike(licence) == licence.startswith(("CC-BY-SA", "GPL"))


def test_a_licence_that_nobody_knows_has_no_text() -> None:
    assert text_of("LicenseRef-own") is None


def test_metadata_is_croissant_1_1_and_holds_the_hash_of_every_shard(root: Path) -> None:
    found = json.loads((root / "builds" / BUILD / "croissant.json").read_text())
    assert found["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"
    assert found["datePublished"] == "2026-01-02T03:04:05+00:00" and found["version"] == f"0.1.0+{BUILD}"
    files = [
        item for item in found["distribution"] if item["encodingFormat"] == "application/x-tar" and "sha256" in item
    ]
    assert len(files) == len(SAMPLES)
    for file in files:
        path = root / "builds" / BUILD / file["contentUrl"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]
    assert {record["@id"] for record in found["recordSet"]} == {"splits", "samples", "parts", "assets"}
    assert "https://creativecommons.org/licenses/by-sa/4.0/" in found["license"]


def test_records_load_with_mlcroissant(root: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    dataset = mlcroissant.Dataset(str(root / "builds" / BUILD / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors and not issues.warnings
    assert [row["splits/name"] for row in dataset.records("splits")] == ["test", "train"]
    samples = {row["samples/sample_id"]: row for row in dataset.records("samples")}
    assert set(samples) == {b"s1", b"s2", b"s3"} and samples[b"s3"]["samples/split"] == b"test"
    parts = list(dataset.records("parts"))
    assert len(parts) == sum(len(sample.parts()) for sample in SAMPLES)
    assert sum(bool(row["parts/target"]) for row in parts) == 3
    made = {row["assets/asset_id"]: row["assets/inputs"] for row in dataset.records("assets")}
    assert made[b"echo"] == [b"mixed", b"rain"] and made[b"dog"] is None


def test_metadata_without_manifests_is_valid_all_the_same(root: Path, connection: duckdb.DuckDBPyConnection) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    dataset = mlcroissant.Dataset(json.loads(croissant(connection, BUILD)))
    assert not dataset.metadata.ctx.issues.errors and not dataset.metadata.ctx.issues.warnings


def test_the_card_begins_with_what_the_hub_reads(connection: duckdb.DuckDBPyConnection) -> None:
    _, front, _ = card(connection, BUILD).split("---\n", 2)
    found = yaml.safe_load(front)
    assert found["license"] == ["cc-by-3.0", "cc-by-sa-4.0"] and found["language"] == ["en"]
    assert found["task_categories"] == ["any-to-any", "audio-to-audio", "text-to-image"]
    assert found["size_categories"] == ["n<1K"]


def test_the_card_tells_the_figures_of_the_catalog(connection: duckdb.DuckDBPyConnection) -> None:
    told = card(connection, BUILD)
    assert "| text_to_image | 1 | 0 | 1 | 2 |" in told
    assert "| sounds | Some sounds | `deb:sounds` | 1.0 | CC-BY-3.0, CC0-1.0 | 3 | 3 |" in told
    assert "| ingest | normalise | blank | 1 |" in told
    assert "[text to image](sheets/text_to_image.png)" in told
    assert not re.search(r"\{\w+\}", told.split("## How to load it")[0])


def test_leaks_are_counted_in_what_was_published(root: Path, tmp_path: Path) -> None:
    with Catalog(str(root)).connect(BUILD) as connection:
        assert not any(checked(connection).values())
        connection.execute("create table leaky as select * replace ('train' as split) from samples")
        connection.execute("create or replace view samples as select * from leaky")
        assert checked(connection)["train parts that show held-out media"] == 1


def test_the_code_on_the_card_runs(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    pieces = re.findall(r"```python\n(.*?)```", (root / "builds" / BUILD / "README.md").read_text(), re.DOTALL)
    assert len(pieces) == LOADING.count("```python") == 4
    shown: dict[str, Any] = {}
    for piece in pieces:
        if "datasets" in piece:
            pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
        exec(piece.replace('"data"', repr(str(root))), shown)
    assert shown["content"] in (b"media", "Here:")
    assert ("target", "image", 2) in shown["roles"] and len(shown["samples"]) == len(SAMPLES)
    assert "json" in shown["streamed"].features and "001.webp" in shown["streamed"].features


def test_the_hub_finds_the_tables_from_the_root(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    card_at_top = root / "README.md"
    card_at_top.write_bytes((root / "builds" / BUILD / "README.md").read_bytes())
    try:
        found = datasets.load_dataset(str(root), "parts", split="train", cache_dir=str(tmp_path))
    finally:
        card_at_top.unlink()
    assert len(found) == sum(len(sample.parts()) for sample in SAMPLES)


def test_plots_are_svg_without_a_date(connection: duckdb.DuckDBPyConnection) -> None:
    for name, data in plots(connection).items():
        assert ET.fromstring(data).tag.endswith("svg"), name
        assert b"<dc:date>" not in data


def test_the_same_build_gives_the_same_bytes(root: Path) -> None:
    for _ in range(2):
        with Catalog(str(root)).connect(BUILD) as connection:
            for name, data in describe(connection, BUILD, manifests(root)).items():
                assert (root / "builds" / BUILD / name).read_bytes() == data, name


def test_a_build_with_no_samples_can_be_described(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with Writer(store, "empty", "build") as writer:
        writer.append("builds", [{"build_id": "empty", "recipe": "none", "samples": 0}])
    with Catalog(store).connect("empty") as connection:
        files = describe(connection, "empty")
    assert files["ATTRIBUTION"].startswith(b"ATTRIBUTION of 0 works") and b"no samples" in files["README.md"]


def test_a_build_that_the_connection_does_not_show_is_named(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ValueError, match="'nope'"):
        describe(connection, "nope")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers() | st.none() | st.text("a|b c", max_size=8), min_size=2, max_size=2), min_size=1))
def test_a_table_keeps_its_cells_whatever_they_hold(lines: list[list[Any]]) -> None:
    drawn = table(["one", "two"], lines).splitlines()
    assert len(drawn) == 2 + len(lines)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in drawn)
