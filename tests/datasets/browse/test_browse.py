"""A small catalog written by hand and what the app says of it. `test_browse_page` looks at it in a browser."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from codi2_datasets.browse import view as views
from codi2_datasets.browse.server import at_home, make_app, ranged
from codi2_datasets.formats.tar import pack
from codi2_datasets.media.audio import encode_audio
from codi2_datasets.media.image import encode_image
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


@dataclass(frozen=True)
class Medium:
    """One picture or sound as the catalog knows it."""

    modality: str
    data: bytes
    caption: str

    @property
    def asset_id(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def media() -> list[Medium]:
    draw = np.random.default_rng(0)
    pictures = [encode_image(draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(4)]
    sound = encode_audio(0.2 * draw.standard_normal(4_000))
    captions = ("a red kite", HOSTILE, "a blue kite", "a kite that nobody kept")
    return [Medium("image", data, said) for data, said in zip(pictures, captions, strict=True)] + [
        Medium("audio", sound, "wind")
    ]


def ask_and_answer(sample_id: str, words: str, medium: Medium, build: str) -> list[dict[str, Any]]:
    about = {"build_id": build, "sample_id": sample_id}
    return [
        {**about, "position": 0, "turn": 0, "role": "user", "modality": "text", "text": words, "target": False},
        {**about, "position": 1, "turn": 1, "role": "assistant", "modality": medium.modality, "target": True,
         "asset_id": medium.asset_id, "icl_role": "target"},
    ]  # fmt: skip


def publish(store: Store, build: str, parent: str | None, created_at: str, numbers: range) -> None:
    """One build of `text_to_image` and `text_to_audio`; the fourth picture is rejected, the last asset is nowhere."""
    found = media()
    tasks = {n: "text_to_audio" if n % 5 == 4 else "text_to_image" for n in numbers}
    samples, parts = [], []
    for n, task in tasks.items():
        sample_id, medium = f"{n:032x}", found[4] if task == "text_to_audio" else found[n % 3]
        samples.append({
            "build_id": build, "sample_id": sample_id, "task": task, "split": "test" if n % 10 == 0 else "train",
            "language": "en", "template": "t/1", "n_parts": 2, "n_demos": n % 4, "licence": "CC0-1.0", "shard": "s.tar",
            "seed": n, "meta": '{"concept": "kite", "relation": null}',
        })  # fmt: skip
        parts += ask_and_answer(sample_id, f"Show {medium.caption}, number {n}", medium, build)
    with Writer(store, build, "build", uses=["kites-p1"], info={"created_at": created_at, "recipe": "kites"}) as writer:
        writer.append(
            "builds",
            [{"build_id": build, "recipe": "kites", "parent": parent, "samples": len(samples), "status": "published"}],
        )
        writer.append("samples", samples)
        writer.append("parts", parts)
        writer.append("assets", [row for row in rows_of(found, store) if row["caption"] != found[3].caption])
        writer.append("rejects", [
            {"build_id": build, "subject": found[3].asset_id, "stage": "select", "op": "exact_duplicate", "reason": "duplicate",
             "score": 1.0, "threshold": 0.9},
        ])  # fmt: skip
        writer.append(
            "op_runs",
            [{"build_id": build, "stage": "plan", "op": "text_to_image", "op_version": "1", "params": "{}",
              "rows_in": 9, "rows_out": 8, "rejected": 1, "failed": 0, "seconds": 0.1}],
        )  # fmt: skip


def rows_of(found: list[Medium], store: Store) -> list[dict[str, Any]]:
    data, offsets = pack([(medium.asset_id, medium.data) for medium in found])
    store.write_bytes("assets/kites-p1.tar", data)
    return [
        {"asset_id": medium.asset_id, "source_row_id": f"row{n}", "corpus": "kites", "modality": medium.modality,
         "caption": medium.caption, "licence": "CC0-1.0", "shard": "assets/kites-p1.tar", "member": medium.asset_id,
         "bytes": len(medium.data), "offset": offset, "attributes": "{}"}
        for n, (medium, offset) in enumerate(zip(found, offsets, strict=True))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kites")
    store = Store(str(folder))
    with Writer(store, "kites-p1", "ingest") as writer:
        assets = rows_of(media(), store)
        writer.append("ingested", assets)
        writer.append("corpora", [
            {"corpus": "kites", "revision": "r", "source": "npm:kites@1.2.5", "version": "1.2.5", "licence": "CC0-1.0", "rows": 5}
        ])  # fmt: skip
        writer.append("source_rows", [
            {"source_row_id": row["source_row_id"], "corpus": "kites", "revision": "r", "locator": f"files/{n}.png",
             "licence": "CC0-1.0", "author": HOSTILE} for n, row in enumerate(assets)
        ])  # fmt: skip
    publish(store, "older", None, "2020-01-01", range(3))
    publish(store, "newer", "older", "2021-01-01", range(60))
    return folder


@pytest.fixture(scope="module")
def client(root: Path) -> TestClient:
    return TestClient(make_app(str(root)))


def test_builds_are_told_latest_first_and_any_can_be_looked_at(client: TestClient, root: Path) -> None:
    builds = client.get("/api/builds").json()
    assert [(row["build_id"], row["shown"]) for row in builds] == [("newer", True), ("older", False)]
    assert TestClient(make_app(str(root), "older")).get("/api/samples").json()["total"] == 3


def test_one_sample_is_found_by_its_id(client: TestClient) -> None:
    told = client.get(f"/api/samples/{7:032x}").json()
    assert [part["modality"] for part in told["parts"]] == ["text", "image"] and told["corpora"] == ["kites"]
    assert client.get("/api/samples/nobody").status_code == 404


@pytest.mark.parametrize("order", sorted(views.ORDERS))
def test_an_order_changes_the_order_and_nothing_else(client: TestClient, order: str) -> None:
    def ids(**asked: str) -> list[str]:
        return [s["sample_id"] for s in client.get("/api/samples", params={"limit": "100", **asked}).json()["samples"]]

    assert sorted(ids(order=order)) == ids() == ids(order="; drop table s")
    if order == "demos":
        shown = client.get("/api/samples", params={"limit": 100, "order": "demos"}).json()["samples"]
        assert [s["demos"] for s in shown] == sorted((s["demos"] for s in shown), reverse=True)


@pytest.mark.parametrize("words", ["files/3.png", "DUPLICATE", "kites:files"])
def test_rejects_are_found_by_what_is_shown_of_them(client: TestClient, words: str) -> None:
    found = client.get("/api/rejects", params={"q": words}).json()
    assert found["total"] == 1 and found["rejects"][0]["place"] == "kites:files/3.png"
    assert client.get("/" + found["rejects"][0]["media"]).status_code == 200


@given(st.text(max_size=12))
def test_a_search_finds_the_samples_whose_words_hold_it(client: TestClient, words: str) -> None:
    wanted = words.strip().lower()
    found = client.get("/api/samples", params={"q": words, "limit": 100}).json()
    expected = [
        sample["sample_id"]
        for sample in client.get("/api/samples", params={"limit": 100}).json()["samples"]
        if sample["sample_id"].startswith(wanted) or any(wanted in (p["text"] or "").lower() for p in sample["parts"])
    ]
    assert [sample["sample_id"] for sample in found["samples"]] == expected and found["total"] == len(expected)


@given(st.binary(max_size=40), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_a_piece_of_the_whole(data: bytes, first: int, last: int) -> None:
    answer = ranged(data, "audio/flac", f"bytes={first}-{last}")
    assert answer.status_code == (206 if data[first : last + 1] else 416)
    assert bytes(answer.body) == data[first : last + 1]


def test_foreign_names_are_refused(root: Path) -> None:
    app = at_home(make_app(str(root)))
    assert TestClient(app, base_url="http://127.0.0.1:8765").get("/api/about").status_code == 200
    assert TestClient(app, base_url="http://localhost:8765").get("/api/about").status_code == 200
    assert TestClient(app, base_url="http://elsewhere.example").get("/api/about").status_code == 400


def test_a_medium_whose_shard_is_gone_says_so(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    publish(store, "alone", None, "2022-01-01", range(3))
    store.remove("assets/kites-p1.tar")
    client = TestClient(make_app(str(tmp_path)))
    answer = client.get(f"/media/{media()[0].asset_id}.webp")
    assert answer.status_code == 404 and "cannot be read from assets/kites-p1.tar" in answer.json()["error"]
