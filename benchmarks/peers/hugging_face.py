"""The pairs with Hugging Face datasets: usage: python hugging_face.py FOLDER OUT (in an environment with datasets, ImageHash)

Two processes decode and hash; the user's own code catches damage and removes equal hashes; writes Parquet ready to push.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import imagehash
from PIL import Image as Pillow

from datasets import Image, load_dataset


def describe(row: dict[str, Any]) -> dict[str, Any]:
    try:
        with Pillow.open(io.BytesIO(row["jpg"]["bytes"])) as image:
            return {"hash": str(imagehash.phash(image)), "side": min(image.size)}
    except (OSError, SyntaxError, ValueError):
        return {"hash": None, "side": 0}


def main(folder: str, out: str) -> None:
    files = sorted(str(path) for path in (Path(folder) / "tars").glob("*.tar"))
    rows = load_dataset("webdataset", data_files={"train": files}, split="train", num_proc=2, cache_dir=f"{out}/cache")
    rows = rows.cast_column("jpg", Image(decode=False)).map(describe, num_proc=2)
    damaged = sum(value is None for value in rows["hash"])
    rows = rows.filter(
        lambda row: row["hash"] is not None and row["side"] >= 300 and 10 <= len(row["json"]["caption"]) <= 200,
        num_proc=2,
    )
    seen, first = set(), []
    for number, value in enumerate(rows["hash"]):
        if value not in seen:
            seen.add(value)
            first.append(number)
    kept = rows.select(first)
    kept.to_parquet(f"{out}/kept.parquet")
    print(json.dumps({"kept": len(kept), "damaged": damaged, "duplicates": len(rows) - len(kept)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
