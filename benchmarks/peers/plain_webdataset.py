"""The pairs with webdataset alone: usage: python plain_webdataset.py FOLDER OUT (in an environment with webdataset, ImageHash)

Two processes read, decode, hash and write the tars of their shards; equal hashes are removed within a process only.
"""

from __future__ import annotations

import io
import json
import sys
from multiprocessing import Pool
from pathlib import Path

import imagehash
import webdataset
from PIL import Image


def work(job: tuple[list[str], str]) -> dict[str, int]:
    files, out = job
    counts, seen = dict.fromkeys(("kept", "damaged", "duplicates"), 0), set()
    with webdataset.ShardWriter(f"{out}-%05d.tar", maxcount=1_000, verbose=0) as sink:
        for sample in webdataset.WebDataset(files, shardshuffle=False):
            try:
                with Image.open(io.BytesIO(sample["jpg"])) as image:
                    value, side = str(imagehash.phash(image)), min(image.size)
            except (OSError, SyntaxError, ValueError):
                counts["damaged"] += 1
                continue
            if side < 300 or not 10 <= len(json.loads(sample["json"])["caption"]) <= 200:
                continue
            if value in seen:
                counts["duplicates"] += 1
                continue
            seen.add(value)
            sink.write({name: sample[name] for name in ("__key__", "jpg", "json")})
            counts["kept"] += 1
    return counts


def main(folder: str, out: str) -> None:
    files = sorted(str(path) for path in (Path(folder) / "tars").glob("*.tar"))
    Path(out).mkdir(parents=True)
    with Pool(2) as pool:
        parts = pool.map(work, [(files[n::2], f"{out}/kept-{n}") for n in range(2)])
    print(json.dumps({name: sum(part[name] for part in parts) for name in parts[0]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
