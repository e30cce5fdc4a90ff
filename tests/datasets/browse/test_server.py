"""What the page is told, over the app itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from codi2_datasets.browse.server import make_app
from codi2_datasets.browse.view import BrowseError, View
from codi2_datasets.media.audio import decode_audio
from codi2_datasets.media.image import decode_image


@pytest.fixture(scope="module")
def client(browsed: Path) -> TestClient:
    return TestClient(make_app(str(browsed)))


def test_choices_narrow_the_samples_and_tell_what_else_there_is(client: TestClient) -> None:
    everything = client.get("/api/samples").json()
    found = client.get("/api/samples", params={"task": "exemplar_learning", "split": "train", "limit": 7}).json()
    counts = {row["value"]: row["n"] for row in found["facets"]["task"]}
    assert found["total"] == counts["exemplar_learning"] == 30 and len(found["samples"]) == 7
    assert set(counts) == {"text_to_image", "exemplar_learning", "text_to_audio"}
    assert everything["total"] == sum(row["n"] for row in everything["facets"]["split"])
    assert {sample["task"] for sample in found["samples"]} == {"exemplar_learning"}


def test_pages_follow_one_another_without_overlap(client: TestClient) -> None:
    first, second = (client.get("/api/samples", params={"offset": n, "limit": 10}).json()["samples"] for n in (0, 10))
    names = [sample["sample_id"] for sample in first + second]
    assert names == sorted(set(names)) and len(names) == 20


def test_words_are_found_whatever_their_case(client: TestClient) -> None:
    found = client.get("/api/samples", params={"q": "NOISE 3"}).json()
    assert found["total"] == 2 or found["total"] > 0
    for sample in found["samples"]:
        assert any("noise 3" in (part["text"] or "").lower() for part in sample["parts"])
    assert client.get("/api/samples", params={"q": "' or 1=1 --"}).json()["total"] == 0


def test_media_are_the_real_ones_and_come_in_ranges(client: TestClient) -> None:
    parts = [p for s in client.get("/api/samples").json()["samples"] for p in s["parts"] if "media" in p]
    picture = next(part for part in parts if part["modality"] == "image")
    answer = client.get("/" + picture["media"])
    assert answer.headers["content-type"] == "image/webp" and decode_image(answer.content).size == (32, 32)
    sounds = client.get("/api/samples", params={"task": "text_to_audio"}).json()["samples"]
    address = "/" + next(p["media"] for p in sounds[0]["parts"] if "media" in p)
    whole = client.get(address)
    assert len(decode_audio(whole.content)) == 4_000 and whole.headers["accept-ranges"] == "bytes"
    piece = client.get(address, headers={"Range": "bytes=4-9"})
    assert piece.status_code == 206 and piece.content == whole.content[4:10]
    assert piece.headers["content-range"] == f"bytes 4-9/{len(whole.content)}"
    assert client.get(address, headers={"Range": "bytes=-3"}).content == whole.content[-3:]
    assert client.get(address, headers={"Range": f"bytes={len(whole.content)}-"}).status_code == 416


def test_what_was_rejected_says_why_and_the_ledger_balances(client: TestClient) -> None:
    found = client.get("/api/rejects", params={"stage": "ingest"}).json()
    assert found["total"] == 1 and found["rejects"][0]["reason"].startswith("nothing in it")
    for row in client.get("/api/ledger").json():
        assert row["rows_in"] == row["rows_out"] + row["rejected"] + row["failed"]


def test_statistics_count_every_sample(client: TestClient) -> None:
    found = client.get("/api/statistics").json()
    by_task = next(chart["rows"] for chart in found["bars"] if chart["title"] == "Samples by task")
    assert sum(row["n"] for row in by_task) == client.get("/api/samples").json()["total"]
    assert {row["name"] for row in found["histograms"]} >= {"colours", "rms_db"}


def test_lineage_leads_to_the_source(client: TestClient) -> None:
    sample = client.get("/api/samples", params={"task": "exemplar_learning"}).json()["samples"][0]
    told = client.get(f"/api/lineage/{sample['sample_id']}").json()
    rows = [part["asset"]["source_row"] for part in told["parts"] if part.get("asset")]
    assert rows and all(row["locator"].endswith(".png") and row["licence"] == "CC-BY-4.0" for row in rows)


@pytest.mark.parametrize("address", ["/api/lineage/nobody", "/media/nothing.webp", "/secret.txt", "/..%2fview.py"])
def test_what_is_not_there_is_not_found(client: TestClient, address: str) -> None:
    assert client.get(address).status_code == 404


def test_no_script_but_our_own_may_run(client: TestClient) -> None:
    for address in ("/", "/app.js", "/api/samples", "/media/nothing.webp"):
        policy = client.get(address).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy


def test_a_root_without_builds_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(BrowseError, match="no published build under"):
        View(str(tmp_path))
