"""Image-text pairs for the comparison with peers: tars, a folder and a list of the same files, with known faults.

usage: python pairs.py FOLDER PAIRS

Of the pairs 3 % repeat the image of another (half of them byte for byte, half as another JPEG of it), 3 % are damaged (cut off, or
no image at all), 2 % have a caption of fewer than 10 characters, and those with a side under 300 px are too small. The
counts that a perfect tool finds are in `truth.json`.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

SMALLEST = 300
SHARD = 1_000
WORDS = [
    "a", "the", "red", "green", "blue", "old", "small", "large", "house", "tree", "river", "bird", "boat", "street", "table",
    "window", "cloud", "stone", "road", "field",
]  # fmt: skip


def drawing(random: np.random.Generator) -> Image.Image:
    """A smooth colour field with rectangles and noise, 256 to 640 px a side."""
    width, height = (int(side) for side in random.integers(256, 641, 2))
    field = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    for _ in range(6):
        size = tuple(int(side) for side in random.integers(20, 160, 2))
        place = int(random.integers(0, width - 20)), int(random.integers(0, height - 20))
        field.paste(Image.new("RGB", size, tuple(int(value) for value in random.integers(0, 256, 3))), place)
    noise = random.normal(0, 6, (height // 2 + 1, width // 2 + 1, 1)).repeat(2, 0).repeat(2, 1)[:height, :width]
    return Image.fromarray(np.clip(np.asarray(field) + noise, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


@dataclass(frozen=True)
class Pair:
    """One pair; `fault` is the first that a perfect tool finds, "kept" without any."""

    key: str
    image: bytes
    caption: str
    fault: str


def make_pairs(count: int) -> Iterator[Pair]:
    random = np.random.default_rng(1)
    last = drawing(random)  # kept itself, so that an image that repeats it is a duplicate
    for number in range(count):
        fate = random.random()
        duplicate, damaged, short = fate < 0.03 and number > 0, 0.03 <= fate < 0.06, 0.06 <= fate < 0.08
        image = last if duplicate else drawing(random)
        data = jpeg(image, 80 if duplicate and fate < 0.015 else 88)
        if damaged:
            data = data[: len(data) // 2] if fate < 0.045 else random.bytes(2_000)
        caption = "a dog" if short else " ".join(random.choice(WORDS, int(random.integers(4, 20))))
        faults = {"damaged": damaged, "short": short, "small": min(image.size) < SMALLEST, "duplicates": duplicate}
        fault = next((name for name, found in faults.items() if found), "kept")
        if fault == "kept":
            last = image
        yield Pair(f"{number:06d}", data, caption, fault)


def main(folder: str, count: int) -> None:
    root, truth, listed = Path(folder), Counter[str](), []
    (root / "images").mkdir(parents=True)
    (root / "tars").mkdir()
    pairs = make_pairs(count)
    for number in range(-(-count // SHARD)):
        with tarfile.open(root / "tars" / f"{number:05d}.tar", "w") as tar:
            for pair in islice(pairs, SHARD):
                truth[pair.fault] += 1
                about = {
                    "caption": pair.caption,
                    "texts": [pair.caption, None],
                    "images": [None, f"{pair.key}.jpg"],
                }
                add(tar, f"{pair.key}.json", json.dumps(about).encode())
                add(tar, f"{pair.key}.jpg", pair.image)
                path = (root / "images" / f"{pair.key}.jpg").absolute()
                path.write_bytes(pair.image)
                text = f"<__dj__image> {pair.caption} <|__dj__eoc|>"
                listed.append({"text": text, "caption": pair.caption, "images": [str(path)]})
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed))
    (root / "truth.json").write_text(json.dumps({"pairs": count, **truth}))


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
