"""The fetcher against a real server that fails in every way: each row has its status, and a rerun asks for little."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from codi2_datasets.connectors import CorpusLocation, Link, connectors
from codi2_datasets.corpora import SourceRow
from codi2_datasets.fetching.fetch import fetch_list
from codi2_datasets.fetching.listing import links_of, read_list
from codi2_datasets.fetching.options import Options
from codi2_datasets.fetching.picture import keep
from codi2_datasets.fetching.rules import Blocklist
from codi2_datasets.readers.tars import Sample, samples
from codi2_storage.errors import UsageError

WEB = Path(__file__).parents[3] / "benchmarks" / "web.py"
STATUSES = {
    "ok": "ok", "missing": "http_404", "busy": "http_429", "reset": "reset", "stall": "timeout", "page": "not_media",
    "cut": "truncated", "huge": "too_large", "loop": "redirects", "optout": "opted_out", "private": "robots",
}  # fmt: skip
PASSING = ("busy", "reset", "stall", "cut")
GOOD = 40


def jpeg(seed: int, width: int = 320, height: int = 200) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height // 20, width // 20, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for n in range(5):
        (folder / f"{n}.jpg").write_bytes(jpeg(n))
    return folder


@contextmanager
def serving(pictures: Path) -> Iterator[str]:
    process = subprocess.Popen([sys.executable, str(WEB), str(pictures)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def web(pictures: Path) -> Iterator[str]:
    with serving(pictures) as address:
        yield address


def options(**more: object) -> Options:
    known: dict = {"size": 64, "shard_rows": 25, "stall": 0.5, "retries": 1, "hosts": ("127.0.0.1",), "at_once": 32}
    return Options(**{**known, "per_host": 32, **more})


def a_list(web: str, path: Path, good: int = GOOD) -> str:
    """Good pictures with two rows of every failure strewn in."""
    kinds = [("ok", n) for n in range(good)]
    for place, kind in enumerate(kind for kind in STATUSES if kind != "ok"):
        kinds[place * 3 : place * 3] = [(kind, 2 * place), (kind, 2 * place + 1)]
    rows = [{"URL": f"{web}/{kind}/{n}", "TEXT": f"{kind} {n}"} for kind, n in kinds]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def told(out: Path) -> dict[str, str]:
    found = {}
    for file in sorted(out.glob("*.parquet")):
        for row in pq.read_table(file).to_pylist():
            found["/".join(str(row["url"]).rsplit("/", 2)[1:])] = row["status"]
    return found


def media(out: Path) -> dict[str, bytes]:
    return {
        json.loads(one.members["json"])["caption"]: one.members["jpg"]
        for file in sorted(out.glob("*.tar")) for one in samples(str(file)) if isinstance(one, Sample)
    }  # fmt: skip


def hits(web: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{web}/hits") as answer:
        return json.load(answer)


def sums(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.glob("0*"))}


def test_every_row_has_its_status_and_a_rerun_asks_for_what_may_have_passed(
    web: str, ray_cluster: None, tmp_path: Path
) -> None:
    listed, out = a_list(web, tmp_path / "list.parquet"), tmp_path / "out"
    counts = fetch_list(read_list(listed), str(out), options())
    assert counts == {"ok": GOOD, **dict.fromkeys(sorted(set(STATUSES.values()) - {"ok"}), 2)}
    statuses = told(out)
    assert len(statuses) == GOOD + 2 * (len(STATUSES) - 1)
    assert all(status == STATUSES[name.partition("/")[0]] for name, status in statuses.items())
    assert json.loads((out / "stats.json").read_text()) == counts
    assert set(media(out)) == {f"ok {n}" for n in range(GOOD)}
    first = hits(web)
    assert not any(name.startswith("/private/") for name in first)  # what robots.txt keeps is never asked for
    urllib.request.urlopen(urllib.request.Request(f"{web}/heal", method="POST"))
    again = fetch_list(read_list(listed), str(out), options())
    asked = {name for name, count in hits(web).items() if count > first.get(name, 0)}
    assert {name.split("/")[1] for name in asked} == set(PASSING) and len(asked) == 2 * len(PASSING)
    assert again["ok"] == GOOD + 2 * len(PASSING) and len(media(out)) == again["ok"]
    before, third = hits(web), fetch_list(read_list(listed), str(out), options())
    assert third == again and hits(web) == before


def test_any_number_of_workers_gives_the_same_bytes_and_a_kill_loses_nothing(
    web: str, ray_cluster: None, tmp_path: Path
) -> None:
    listed = a_list(web, tmp_path / "list.parquet", good=150)
    fetch_list(read_list(listed), str(tmp_path / "one"), options(), workers=1)
    code = (
        "import sys; from codi2_datasets.fetching.fetch import fetch_list;"
        "from codi2_datasets.fetching.listing import read_list; from codi2_datasets.fetching.options import Options;"
        f"fetch_list(read_list({listed!r}), {str(tmp_path / 'two')!r}, {options()!r}, 2)"
    )
    code = code.replace("import Options;", "import Options; from codi2_datasets.fetching.rules import Blocklist;")
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not list((tmp_path / "two").glob("*.parquet")) and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list((tmp_path / "two").glob("*.parquet"))
    fetch_list(read_list(listed), str(tmp_path / "two"), options(), workers=2)
    assert sums(tmp_path / "two") == sums(tmp_path / "one")
    fetch_list(read_list(listed), str(tmp_path / "two"), options(shard_rows=50), workers=2)  # fewer, larger shards
    assert len(sums(tmp_path / "two")) < len(sums(tmp_path / "one"))
    assert set(media(tmp_path / "two")) == set(media(tmp_path / "one"))


def test_pictures_are_made_small_and_keep_their_shape(web: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{web}/ok/1\n\n{web}/ok/2\n")
    fetch_list(read_list(str(tmp_path / "list.txt")), str(tmp_path / "out"), options())
    [one, two] = [s for s in samples(str(tmp_path / "out" / "000000.tar")) if isinstance(s, Sample)]
    assert Image.open(io.BytesIO(one.members["jpg"])).size == (102, 64) and one.members != two.members
    fetch_list(read_list(str(tmp_path / "list.txt")), str(tmp_path / "whole"), options(size=0))
    [whole, _] = [s for s in samples(str(tmp_path / "whole" / "000000.tar")) if isinstance(s, Sample)]
    assert whole.members["jpg"] == jpeg(1)  # bytes as they came


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0.0.0.0",
     "10.0.0.7", "[fe80::1]", "[64:ff9b::7f00:1]"],
)  # fmt: skip
def test_private_networks_are_not_reached_in_any_spelling(host: str, web: str, tmp_path: Path) -> None:
    port = web.rpartition(":")[2]
    (tmp_path / "list.txt").write_text(f"http://{host}:{port}/ok/1\n")
    counts = fetch_list(read_list(str(tmp_path / "list.txt")), str(tmp_path / "out"), options(hosts=(), retries=0))
    [(status, _)] = counts.items()
    assert status in ("private_address", "unreachable", "bad_address") and hits(web) == {}


def test_a_host_allowed_since_is_asked_and_what_was_settled_is_not_asked_again(web: str, tmp_path: Path) -> None:
    port = web.rpartition(":")[2]
    (tmp_path / "list.txt").write_text(f"{web}/ok/1\n{web}/missing/1\nhttp://localhost:{port}/ok/2\n")

    def fetch(*hosts: str) -> dict:
        return dict(fetch_list(read_list(str(tmp_path / "list.txt")), str(tmp_path / "out"), options(hosts=hosts)))

    assert fetch() == {"private_address": 3}
    assert fetch("127.0.0.1")["private_address"] == 1
    before = hits(web)
    assert fetch("127.0.0.1")["private_address"] == 1 and hits(web) == before
    found = fetch("127.0.0.1", "localhost")
    assert "private_address" not in found and sum(found.values()) == 3
    assert set(hits(web)) - set(before) == {"/ok/2"}
    assert fetch() == found  # what is there stays, whatever is allowed now


def test_what_others_wrote_stays_and_a_damaged_shard_is_made_anew(web: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{web}/ok/1\n{web}/ok/2\n")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("00007.tar", "notes.parquet"):
        (out / name).write_bytes(b"of others")
    fetch_list(read_list(str(tmp_path / "list.txt")), str(out), options(shard_rows=1))
    whole = sums(out)
    assert set(whole) == {"00007.tar", *(f"{n:06d}.{kind}" for n in range(2) for kind in ("tar", "parquet"))}
    (out / "000001.parquet").write_bytes(b"PAR1 cut off")
    fetch_list(read_list(str(tmp_path / "list.txt")), str(out), options(shard_rows=1))
    assert sums(out) == whole and (out / "notes.parquet").exists()
    (tmp_path / "list.txt").write_text(f"{web}/ok/1\n")
    fetch_list(read_list(str(tmp_path / "list.txt")), str(out), options(shard_rows=1))
    assert set(sums(out)) == {"00007.tar", "000000.tar", "000000.parquet"} and (out / "notes.parquet").exists()


def test_what_is_blocked_or_of_no_address_is_said(web: str, tmp_path: Path) -> None:
    lines = [
        f"{web}/ok/1",
        "ftp://example.org/a.jpg",
        "nonsense",
        "http://me:you@127.0.0.1/a.jpg",
        "http://a.evil.example/x.jpg",
    ]
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "blocked.txt").write_text(f"# ours\n*.evil.example\n{web}/ok/\n")
    blocked = Blocklist.read(tmp_path / "blocked.txt")
    counts = fetch_list(read_list(str(tmp_path / "list.txt")), str(tmp_path / "out"), options(blocklist=blocked))
    assert counts == {"bad_address": 3, "blocked": 2} and hits(web) == {}


def test_bytes_are_checked_against_the_list(tmp_path: Path) -> None:
    data = jpeg(1)
    right = hashlib.sha256(data).hexdigest()
    assert keep(data, Link("a#1", "http://x", sha256=right.upper()), Options()).status == "ok"
    assert keep(data, Link("a#1", "http://x", sha256="0" * 64), Options()).status == "hash_mismatch"
    assert keep(data, Link("a#1", "http://x", md5="0" * 32), Options()).status == "hash_mismatch"
    assert keep(data[:2000], Link("a#1", "http://x"), Options()).status == "damaged"
    assert keep(data, Link("a#1", "http://x"), Options(most_pixels=1000)).status == "too_many_pixels"
    assert keep(data, Link("a#1", "http://x"), Options(media="audio")).status == "not_media"


@pytest.mark.parametrize("size", [(128, 128), (129, 128), (96, 256), (700, 65), (64, 64), (40, 20)])
def test_pictures_of_any_size_keep_their_shape(size: tuple[int, int]) -> None:
    kept = keep(jpeg(1, *size), Link("a#1", "http://x"), Options(size=64))
    with Image.open(io.BytesIO(kept.data)) as image:
        assert (kept.status, image.size, image.mode) == ("ok", (kept.width, kept.height), "RGB")
    assert min(image.size) == min(64, *size) and abs(image.width / image.height - size[0] / size[1]) < 0.5


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("name,text\na,b\n")
    with pytest.raises(ValueError, match=r"list\.csv.*url"):
        list(read_list(str(tmp_path / "list.csv")))
    with pytest.raises(UsageError, match="alpaca"):
        links_of("alpaca", CorpusLocation("alpaca", str(tmp_path)))
    with pytest.raises(UsageError, match="media 'smell'"):
        Options(media="smell")


def test_laion_is_fetched_and_read_back_by_its_connector(web: str, ray_cluster: None, tmp_path: Path) -> None:
    place = CorpusLocation("laion", a_list(web, tmp_path / "laion.parquet"), str(tmp_path / "out"))
    fetch_list(links_of("laion", place), str(tmp_path / "out"), options())
    laion = connectors()["laion"]
    rows = [row for piece in laion.pieces(place) for row in laion.rows(piece)]
    good = [row for row in rows if isinstance(row, SourceRow)]
    assert {row.caption for row in good} == {f"ok {n}" for n in range(GOOD)}
    assert all(str(row.attributes["url"]).startswith(web) for row in good)
    assert len(rows) - len(good) == 2 * (len(STATUSES) - 1)
    assert {row.reason for row in rows if not isinstance(row, SourceRow)} >= {
        "not fetched: http_404",
        "not fetched: robots",
    }
