"""Are samples read back in training order as fast as plain webdataset streams them? And does a run resume at any sample?

usage: python benchmarks/reading.py [--shards 1000] [--samples 1000] [--read 100000]

Samples have three members: JSON, picture, sound. A few shards are written and the others are links to them, so that the
bytes lie in memory for both readers: what is compared is the reading, not the disk. The two take turns in one run.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import webdataset

from codi2_datasets.formats.hashing import sha256
from codi2_datasets.formats.sample import Message, Part, Sample
from codi2_datasets.formats.tar import pack
from codi2_model.training.data.mixture import Mixture
from codi2_model.training.data.shards import ShardSet

TASKS = ("text_to_image", "text_to_audio", "joint_image_audio", "image_editing")
DISTINCT, ROUNDS, BATCH = 20, 4, 100
PICTURE, SOUND = 3_000, 6_000  # bytes, as in the demo's shards


def write(folder: Path, shards: int, samples: int) -> list[str]:
    """Paths of shards, each of one task; every one above DISTINCT is a link to an earlier one."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(shards):
        path = folder / f"{number:05d}.tar"
        if number >= DISTINCT:
            os.link(folder / f"{number % DISTINCT:05d}.tar", path)
        else:
            members: list[tuple[str | None, bytes | None]] = []
            for n in range(samples):
                key, words = sha256(f"{number}/{n}"), f"A picture with its sound, number {n}."
                user = Message("user", [Part("text", text=words)])
                media = [Part("image", part="001.webp", asset_id=sha256(key), icl_role="target", target=True),
                         Part("audio", part="002.flac", asset_id=sha256(key + "a"), icl_role="target", target=True)]  # fmt: skip
                sample = Sample(
                    key, TASKS[number % len(TASKS)], "train", [user, Message("assistant", media)], "CC-BY-4.0", n
                )
                members += [(f"{key}.json", sample.to_json().encode()), (f"{key}.001.webp", rng.bytes(PICTURE)),
                            (f"{key}.002.flac", rng.bytes(SOUND))]  # fmt: skip
            path.write_bytes(pack(members)[0])
        paths.append(str(path))
    return paths


class Reader:
    """Samples with their bytes in the order of a training run."""

    def __init__(self, paths: list[str]) -> None:
        self.shards = ShardSet(paths)
        self.of = {task: self.shards.get(task, "train") for task in TASKS}
        self.order = Mixture({task: len(of) for task, of in self.of.items()}, dict.fromkeys(TASKS, 1.0), seed=1)

    def take(self, count: int) -> Iterator[tuple[Sample, list[bytes]]]:
        for _ in range(count // BATCH):
            for draw in self.order.take(BATCH):
                record = self.of[draw.task][draw.index]
                yield self.shards.sample(record), [self.shards.bytes(record, span) for span in record.media.values()]


def resumes(paths: list[str], samples: int) -> bool:
    """A run stopped at three places and begun anew there gives the samples that an undisturbed one gives."""
    whole = [sample.sample_id for sample, _ in Reader(paths).take(samples)]
    rng = np.random.default_rng(2)
    for stop in (rng.integers(1, samples // BATCH, 3) * BATCH).tolist():
        first, second = Reader(paths), Reader(paths)
        before = [sample.sample_id for sample, _ in first.take(stop)]
        second.order.load_state_dict(first.order.state_dict())
        if before + [sample.sample_id for sample, _ in second.take(samples - stop)] != whole:
            return False
    return True


def own_memory() -> int:
    """Bytes of this process that are no pages of files."""
    found = psutil.Process().memory_info()
    return int(found.rss - found.shared)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=1_000)
    parser.add_argument("--samples", type=int, default=1_000, help="of a shard")
    parser.add_argument("--read", type=int, default=100_000, help="samples that each reader reads")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), chosen.shards, chosen.samples)
        before = own_memory()
        start = time.perf_counter()
        reader = Reader(paths)
        indexed = time.perf_counter() - start
        held = (own_memory() - before) / 2**20
        plain = iter(webdataset.WebDataset(paths, shardshuffle=False, empty_check=False))
        seconds = {"webdataset": 0.0, "training order": 0.0}
        each = chosen.read // ROUNDS
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for _ in range(each):
                next(plain)
            middle = time.perf_counter()
            for _ in reader.take(each):
                pass
            seconds["webdataset"] += middle - start
            seconds["training order"] += time.perf_counter() - middle
        total = chosen.shards * chosen.samples
        print(
            f"{total:,} samples in {chosen.shards:,} shards found in {indexed:.1f} s; {held:.0f} MiB for where they lie"
        )
        for name, taken in seconds.items():
            print(f"{name:<15} {ROUNDS * each / taken:9,.0f} samples/s")
        print(f"ratio           {seconds['webdataset'] / seconds['training order']:9.2f} of webdataset's speed")
        print(f"resumes exactly {'yes' if resumes(paths[:40], min(chosen.read, 20_000)) else 'NO':>9}")


if __name__ == "__main__":
    main()
