"""How fast are pictures fetched, beside a bare loop of the same work, and beside img2dataset where that is at hand?

usage: python benchmarks/fetch.py [--rows 20000] [--workers 2] [--img2dataset PYTHON]

The server (benchmarks/web.py) runs on the same machine and takes its share of the cores from all alike. 5 % of the rows
fail in ten ways. The bare loop reads good addresses one by one over one connection, decodes, resizes to 256 pixels,
encodes and writes a tar. PYTHON: of an environment that has img2dataset; its pins do not go with ours.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from web import EXPECTED, FAILURES, PASSING

from codi2_datasets.fetching.fetch import fetch_list
from codi2_datasets.fetching.listing import read_list
from codi2_datasets.fetching.options import Options
from codi2_datasets.formats.tar import add_member
from codi2_datasets.runtime.ray_executor import local_cluster

PICTURES = 200


def photographs(folder: Path, side: int, noise: float) -> None:
    """Square JPEGs: coarse shapes under fine noise, which stands for the detail of photographs."""
    for n in range(PICTURES):
        rng = np.random.default_rng(n)
        shapes = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
        noisy = np.asarray(shapes).astype(np.int16) + rng.normal(0, noise, (side, side, 1)).astype(np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{n}.jpg", quality=85)


def listed(address: str, path: Path, rows: int) -> dict[str, int]:
    """A list with 5 % failures of ten kinds, strewn evenly. Returns how many rows should have which status."""
    kinds = ["ok" if n % 20 else FAILURES[n // 20 % len(FAILURES)] for n in range(rows)]
    table = {
        "url": [f"{address}/{kind}/{n}" for n, kind in enumerate(kinds)],
        "caption": [f"picture {n}" for n in range(rows)],
    }
    pq.write_table(pa.table(table), path)
    return {status: sum(EXPECTED[kind] == status for kind in kinds) for status in EXPECTED.values()}


def bare(address: str, out: Path, rows: int) -> float:
    """Pictures a second of the loop with nothing else in it."""
    host = urlsplit(address).netloc
    connection = http.client.HTTPConnection(host)
    start = time.perf_counter()
    with tarfile.open(out, "w") as archive:
        for n in range(rows):
            connection.request("GET", f"/ok/{n}")
            image = Image.open(io.BytesIO(connection.getresponse().read())).convert("RGB")
            scale = 256 / min(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=90)
            add_member(archive, f"{n:08d}.jpg", buffer.getvalue())
    return rows / (time.perf_counter() - start)


class Peak:
    """The most memory that one of this process's Ray workers held, without the pages that they share."""

    def __enter__(self) -> Peak:
        self.mib, self.going = 0.0, True
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self) -> None:
        while self.going:
            for process in psutil.Process().children(recursive=True):
                try:
                    if process.name().startswith("ray::"):
                        self.mib = max(self.mib, (process.memory_info().rss - process.memory_info().shared) / 2**20)
                except psutil.Error:
                    continue
            time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        self.going = False
        self.thread.join()


def asked(address: str) -> dict[str, int]:
    """How often the server was asked for which path."""
    with urllib.request.urlopen(f"{address}/hits") as answer:
        return dict(json.load(answer))


def img2dataset(python: str, source: Path, out: Path, workers: int) -> float:
    """Pictures a second of img2dataset, with as many processes; from its own count."""
    start = time.perf_counter()
    command = [str(Path(python).with_name("img2dataset")), f"--url_list={source}", "--input_format=parquet", "--url_col=url",
               "--caption_col=caption", "--output_format=webdataset", f"--output_folder={out}", "--image_size=256",
               "--resize_mode=keep_ratio", "--resize_only_if_bigger=True", f"--processes_count={workers}", "--thread_count=64",
               "--encode_quality=90", "--timeout=2", "--number_sample_per_shard=1000", "--retries=0"]  # fmt: skip
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    seconds = time.perf_counter() - start
    return sum(json.loads(path.read_text())["successes"] for path in out.glob("*_stats.json")) / seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--side", type=int, default=640, help="pixels of the pictures")
    parser.add_argument("--noise", type=float, default=2.0, help="how much detail they have")
    parser.add_argument("--img2dataset", metavar="PYTHON")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        photographs(folder / "pictures", chosen.side, chosen.noise)
        server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("web.py")), str(folder / "pictures")],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            return compare(server.stdout.readline().strip(), folder, chosen)
        finally:
            server.kill()


def compare(address: str, folder: Path, chosen: argparse.Namespace) -> int:
    options = Options(hosts=("127.0.0.1",), shard_rows=250, per_host=64, stall=2.0, timeout=10.0, retries=0)
    good = True
    rates = {"bare loop": bare(address, folder / "bare.tar", 2_000)}
    with local_cluster(chosen.workers):
        for rows in sorted({2_000, chosen.rows}):
            source, out = folder / f"{rows}.parquet", folder / f"out-{rows}"
            expected = listed(address, source, rows)
            start = time.perf_counter()
            with Peak() as peak:
                found = fetch_list(read_list(str(source)), str(out), options, chosen.workers)
            rates["codi2 fetch"] = found["ok"] / (time.perf_counter() - start)
            right = found == {status: count for status, count in expected.items() if count}
            good = good and right
            print(f"{rows:,} rows: {rates['codi2 fetch']:.0f} pictures/s, every status right: {'yes' if right else 'NO'}, "
                  f"largest worker {peak.mib:.0f} MiB", flush=True)  # fmt: skip
            if not right:
                print(f"  expected {expected}\n  found    {found}")
        before = asked(address)
        fetch_list(read_list(str(source)), str(out), options, chosen.workers)
        again = {path for path, count in asked(address).items() if count > before.get(path, 0)}
    passing = sum(expected[EXPECTED[kind]] for kind in PASSING)
    right = {path.split("/")[1] for path in again} == set(PASSING) and len(again) == passing
    good = good and right
    print(f"a second run asks for {len(again):,} rows, those that may have passed alone: {'yes' if right else 'NO'}")
    if chosen.img2dataset:
        rates["img2dataset"] = img2dataset(
            chosen.img2dataset, folder / f"{chosen.rows}.parquet", folder / "theirs", chosen.workers
        )
    rates["bare loop"] = (rates["bare loop"] + bare(address, folder / "bare.tar", 2_000)) / 2
    for who, rate in rates.items():
        print(f"{who:<12} {rate:7.0f} pictures/s   codi2 fetch is {rates['codi2 fetch'] / rate:.2f} of it")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
