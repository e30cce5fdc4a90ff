"""Batch generation with a real, very small model: formats, order, resumption, reasons."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codi2_datasets.publishing.contact_sheets import read_samples
from codi2_model.serving.batch import generate_batch
from codi2_model.serving.batch.request_files import read_requests
from codi2_model.serving.http.media import image_to_url, video_to_url
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.errors import UsageError
from tests.codi2_model.serving import killing
from tests.codi2_model.serving.wire_media import audio_to_base64
from tests.processes import descendants


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are several chunks."""
    monkeypatch.setattr(generate_batch, "CHUNK_ROWS", killing.SMALL_CHUNK)


def rows_of(parts: Any, count: int = 8) -> list[dict[str, Any]]:
    """Requests of every kind; the last but one cannot be answered."""
    media = [
        {"type": "image_url", "image_url": {"url": image_to_url(parts.picture())}},
        {"type": "input_audio", "input_audio": {"data": audio_to_base64(parts.sound()), "format": "wav"}},
        {"type": "video_url", "video_url": {"url": video_to_url(parts.clip())}},
    ]
    rows: list[dict[str, Any]] = []
    for n in range(count):
        content = [{"type": "text", "text": f"Draw {n}."}, *([media[n % 3]] if n % 2 else [])]
        kind = ("image", "audio", "text", "video")[n % 4]
        messages = [{"role": "user", "content": content}]
        rows.append({"id": f"r{n}", "messages": messages, "modalities": [kind], "steps": 1, "max_tokens": 4})
    rows[-2]["messages"] = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "/etc/passwd"}}]}]
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def hashes(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((out / "shards").iterdir())}


@pytest.mark.usefixtures("small_chunks")
def test_every_row_becomes_a_sample_or_a_reason(checkpoint: Path, parts: Any, tmp_path: Path) -> None:
    requests = write(tmp_path / "requests.jsonl", rows_of(parts))
    page = generate_batch.generate_requests(requests, str(tmp_path / "out"), str(checkpoint), str(tmp_path / "root"))
    assert Path(page).read_text().count("Draw 1.") >= 1
    samples = []
    for shard in sorted((tmp_path / "out" / "shards").glob("*.tar")):
        samples += read_samples(shard.read_bytes(), 100, 0)
    assert len(samples) == 7 and len({sample.sample_id for sample, _ in samples}) == 7
    kinds = {sample.meta["request_id"]: [part.type for part in sample.messages[-1].content] for sample, _ in samples}
    assert kinds["r0"] == ["image"] and kinds["r1"] == ["audio"] and kinds["r3"] == ["video"]
    tasks = {sample.meta["request_id"]: sample.task for sample, _ in samples}
    assert tasks["r0"] == "text_to_image" and tasks["r1"] == "audio_editing"
    for sample, media in samples:
        for part in sample.parts():
            assert part.part is None or hashlib.sha256(media[part.part]).hexdigest() == part.asset_id
    failed = [json.loads(line) for line in (tmp_path / "out" / "failed.jsonl").read_text().splitlines()]
    assert [row["id"] for row in failed] == ["r6"] and "data: URL" in failed[0]["reason"]
    table = Catalog(str(tmp_path / "root")).sql("select * from generations order by request_id").to_pylist()
    assert len(table) == 8 and sum(row["status"] == "done" for row in table) == 7
    assert len({row["seed"] for row in table}) == 8  # a seed a row


@pytest.mark.usefixtures("small_chunks")
def test_a_rerun_makes_only_what_is_missing_and_a_changed_row_is_made_anew(
    checkpoint: Path, parts: Any, tmp_path: Path
) -> None:
    rows, out = rows_of(parts), tmp_path / "out"
    requests = write(tmp_path / "requests.jsonl", rows)

    def run() -> None:
        generate_batch.generate_requests(requests, str(out), str(checkpoint), str(tmp_path / "root"))

    run()
    first, times = hashes(out), {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    run()
    assert times == {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    lost = sorted((out / "shards").glob("*.json"))[0]
    lost.unlink()
    run()
    assert hashes(out) == first
    rows[7]["seed"] = 99
    requests = write(tmp_path / "requests.jsonl", rows)
    run()
    second = hashes(out)
    assert len(second) == len(first) and len(set(second) & set(first)) == 2  # the first chunk stays, the last is new
    table = Catalog(str(tmp_path / "root")).sql("select count(*) as n from generations").to_pylist()
    assert table[0]["n"] == 8


@pytest.mark.parametrize("inside", [True, False])
def test_a_batch_is_the_same_one_after_its_folder_and_the_root_were_moved(
    checkpoint: Path, parts: Any, tmp_path: Path, inside: bool
) -> None:
    """Nothing is answered twice, and the catalog has one row a request, which leads to the new place."""
    requests = write(tmp_path / "requests.jsonl", rows_of(parts)[:3])
    (tmp_path / "one").mkdir()
    old = tmp_path / ("one/out" if inside else "out")
    generate_batch.generate_requests(requests, str(old), str(checkpoint), str(tmp_path / "one"))
    uris = "select distinct uri from generations"
    stored = "out/index.html" if inside else str(old / "index.html")
    assert Catalog(str(tmp_path / "one")).sql(uris).to_pylist() == [{"uri": stored}]
    times = {path.name: path.stat().st_mtime_ns for path in (old / "shards").iterdir()}
    (tmp_path / "one").rename(tmp_path / "two")
    new = tmp_path / ("two/other" if inside else "other")
    (tmp_path / "two/out" if inside else old).rename(new)
    generate_batch.generate_requests(requests, str(new), str(checkpoint), str(tmp_path / "two"))
    assert times == {path.name: path.stat().st_mtime_ns for path in (new / "shards").iterdir()}
    assert not old.exists() and not (tmp_path / "one").exists()
    stored = "other/index.html" if inside else str(new / "index.html")
    found = Catalog(str(tmp_path / "two")).sql("select uri from generations").to_pylist()
    assert found == [{"uri": stored}] * 3


def as_parquet(requests: str, path: Path) -> str:
    rows = [json.loads(line) for line in Path(requests).read_text().splitlines()]
    told = [{**row, "messages": json.dumps(row["messages"])} for row in rows]
    pq.write_table(pa.Table.from_pylist(told), path)
    return str(path)


def test_the_same_weights_told_otherwise_answer_anew(checkpoint: Path, parts: Any, tmp_path: Path) -> None:
    """Steps and guidance stand in the configuration and change no weight."""
    other = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "sampling_steps": config["sampling_steps"] + 1}))
    requests = write(tmp_path / "requests.jsonl", rows_of(parts)[:2])
    names = []
    for folder in (checkpoint, other):
        generate_batch.generate_requests(requests, str(tmp_path / "out"), str(folder), str(tmp_path / "root"))
        names.append(sorted(path.name for path in (tmp_path / "out" / "shards").iterdir()))
    assert names[0] != names[1] and len(names[0]) == len(names[1])


@pytest.mark.parametrize(
    ("form", "moments"),
    [
        ("jsonl", ["1-", "1+", "2-", "3+", "4-", "5+", "1-", "2-", "3-", "3+"]),
        pytest.param("parquet", ["3-", "4+", "1-"], marks=pytest.mark.slow),
    ],
)
def test_a_kill_at_any_write_loses_and_doubles_nothing(
    form: str, moments: list[str], checkpoint: Path, parts: Any, tmp_path: Path, small_chunks: None
) -> None:
    """Each run goes on where the last was killed: at shards, receipts, the list of failures, the catalog's rows."""
    requests = write(tmp_path / "requests.jsonl", rows_of(parts, 14))
    if form == "parquet":
        requests = as_parquet(requests, tmp_path / "requests.parquet")

    def arguments(name: str) -> tuple[str, ...]:
        return requests, str(tmp_path / name), str(checkpoint), str(tmp_path / f"root-{name}")

    def told(name: str) -> tuple[str, list[dict[str, Any]]]:
        columns = "request_id, sample_id, status, reason, seed, checkpoint_id"
        table = Catalog(str(tmp_path / f"root-{name}")).sql(f"select {columns} from generations order by request_id")
        return (tmp_path / name / "failed.jsonl").read_text(), table.to_pylist()

    generate_batch.generate_requests(*arguments("whole"))
    assert killing.run(arguments("killed"), moments) == [-signal.SIGKILL] * len(moments) + [0]
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
    assert told("killed") == told("whole") and len(told("whole")[1]) == 14
    assert not [path for path in (tmp_path / "killed").rglob("*") if path.name.startswith(".")]  # no half files


@pytest.mark.slow
def test_a_kill_from_outside_while_rows_are_answered_loses_nothing(
    checkpoint: Path, parts: Any, tmp_path: Path
) -> None:
    requests = write(tmp_path / "requests.jsonl", rows_of(parts, 72))
    code = "import sys; from codi2_model.serving.batch.generate_batch import generate_requests as g; g(*sys.argv[1:])"

    def arguments(name: str) -> tuple[str, ...]:
        return requests, str(tmp_path / name), str(checkpoint), str(tmp_path / "root")

    process = subprocess.Popen([sys.executable, "-c", code, *arguments("killed")])
    end = time.monotonic() + 60
    while not list((tmp_path / "killed").glob("shards/*.json")) and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 1 <= len(list((tmp_path / "killed").glob("shards/*.json"))) < 3
    for name in ("killed", "whole"):
        generate_batch.generate_requests(*arguments(name))
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")


def test_parquet_and_shards_ask_the_same_as_lines(checkpoint: Path, parts: Any, tmp_path: Path) -> None:
    rows = rows_of(parts, 8)[:6]
    write(tmp_path / "a.jsonl", rows)
    nested = [
        {k: v for k, v in row.items() if k != "messages"} | {"messages": json.dumps(row["messages"])} for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(nested), tmp_path / "b.parquet")
    plain = [{"id": "p", "messages": [{"role": "user", "content": "hi"}], "modalities": ["text"]}]
    pq.write_table(pa.Table.from_pylist(plain), tmp_path / "c.parquet")
    lines, table = read_requests(str(tmp_path / "a.jsonl")), read_requests(str(tmp_path / "b.parquet"))
    assert [row.data for row in lines] == [row.data for row in table]
    assert read_requests(str(tmp_path / "c.parquet"))[0].request(0, ("image",)).messages[0]["role"] == "user"
    generate_batch.generate_requests(
        str(tmp_path / "a.jsonl"), str(tmp_path / "out"), str(checkpoint), str(tmp_path / "root")
    )
    again = read_requests(str(tmp_path / "out" / "shards"))  # its own output, asked anew
    asked = [row.request(0, ("image", "audio", "video")) for row in again]
    assert len(asked) == 6 and {request.settings.modalities for request in asked} >= {
        ("image",),
        ("audio",),
        ("video",),
    }
    write(tmp_path / "d.jsonl", [rows[0], rows[0]])
    with pytest.raises(UsageError, match=r"d.jsonl:2: the id 'r0'"):
        read_requests(str(tmp_path / "d.jsonl"))
    with pytest.raises(UsageError, match="no such file"):
        read_requests(str(tmp_path / "e.jsonl"))


def test_requests_are_read_from_files_as_people_write_them(tmp_path: Path) -> None:
    folder = tmp_path / "asked [1]"
    folder.mkdir()
    hi = {"messages": [{"role": "user", "content": "a\u2028b"}], "modalities": ["text"]}
    lines = [
        json.dumps({**hi, "id": 7}, ensure_ascii=False),
        "",
        json.dumps(hi),
        '{"id": "half", "x": "\\ud83d"}',
        "{",
        "[]",
    ]
    (folder / "a.JSONL.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + "\r\n".join(lines).encode()))
    (folder / "._a.jsonl").write_bytes(b"\0\5\x16\7")
    columns = {
        "id": pa.array([1.0, None]),
        "seed": pa.array([5.0, None]),
        "messages": pa.array([json.dumps(hi["messages"])] * 2, pa.large_binary()),
    }
    pq.write_table(pa.table(columns), folder / "b.parquet")
    found = read_requests(str(folder))
    assert [(row.id, row.reason) for row in found[:5]] == [
        ("7", ""), ("line-3", ""), ("half", "a string contains a lone surrogate, which is not valid Unicode"),
        ("line-5", "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("line-6", "not a JSON object")]  # fmt: skip
    assert found[0].data["messages"][0]["content"] == "a\u2028b"
    assert [(row.id, row.data.get("seed")) for row in found[5:]] == [("1", 5), ("row-2", None)]
    assert found[5].request(0, ("text",)).messages[0]["content"] == [{"type": "text", "text": "a\u2028b"}]
    tar = tmp_path / "x [2].tar"
    with tarfile.open(tar, "w") as archive:
        for name, data in (
            ("._q.json", b"x"),
            ("./q.json", json.dumps(hi).encode()),
            (".DS_Store", b"x"),
            ("cut.json", b"{"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    tar.write_bytes(tar.read_bytes()[:4096])  # without its end
    told = [(row.id, row.reason[:12]) for row in read_requests(str(tar))]
    assert told == [("q", ""), ("cut", "not JSON: Ex"), ("the rest of the shard", "damaged tar:")]


def test_lines_that_are_no_requests_are_listed_with_their_place(checkpoint: Path, tmp_path: Path) -> None:
    bad = [
        "{",
        "[]",
        '{"messages": []}',
        '{"messages": [{"role": "user", "content": "x"}], "task": "dance", "max_tokens": 1}',
    ]
    (tmp_path / "bad.jsonl").write_text("\n".join(bad))
    out = tmp_path / "out"
    generate_batch.generate_requests(str(tmp_path / "bad.jsonl"), str(out), str(checkpoint), str(tmp_path / "root"))
    reasons = [json.loads(line)["reason"] for line in (out / "failed.jsonl").read_text().splitlines()]
    assert len(reasons) == 4 and all(f"bad.jsonl:{n}" in reason for n, reason in enumerate(reasons, 1))
    assert "messages" in reasons[2] and "dance" in reasons[3]


def test_a_pool_of_workers_writes_the_same_bytes_though_one_is_killed(
    checkpoint: Path, parts: Any, tmp_path: Path, ray_cluster: None, small_chunks: None
) -> None:
    from codi2_flows.generate_batch import on_ray

    requests = write(tmp_path / "requests.jsonl", rows_of(parts, 16))
    killed: list[int] = []

    def losing_one(run: generate_batch.BatchSettings, chunks: Any, workers: int) -> Iterator[int]:
        for done in on_ray(run, chunks, workers):
            if not killed:
                killed.extend(descendants(os.getpid(), "ray::MapWorker")[:1])
                os.kill(killed[0], signal.SIGKILL)
            yield done

    for name, workers in (("one", 1), ("two", 2)):
        generate_batch.generate_requests(
            requests, str(tmp_path / name), str(checkpoint), str(tmp_path / "root"), workers, distribute=losing_one
        )
    assert killed and hashes(tmp_path / "one") == hashes(tmp_path / "two")


@pytest.mark.slow
def test_the_command_is_killed_with_its_workers_and_goes_on(checkpoint: Path, parts: Any, tmp_path: Path) -> None:
    requests = write(tmp_path / "requests.jsonl", rows_of(parts, 320))

    def command(name: str, workers: int) -> list[str]:
        where = ["--out", str(tmp_path / name), "--root", str(tmp_path / "root"), "--checkpoint", str(checkpoint)]
        start = [sys.executable, "-m", "codi2_flows.cli.main", "generate", requests]
        return [*start, *where, "--workers", str(workers)]

    process = subprocess.Popen(command("killed", 2), start_new_session=True)
    end = time.monotonic() + 240
    while not list((tmp_path / "killed").glob("shards/*.json")) and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)  # its workers end a moment later, and may write until then
    process.wait()
    assert len(list((tmp_path / "killed").glob("shards/*.json"))) < 10
    subprocess.run(command("killed", 2), check=True)
    subprocess.run(command("whole", 1), check=True)
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
