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
from pathlib import Path

import numpy as np
from PIL import Image

SMALLEST, SHORTEST, LONGEST = 300, 10, 200
SHARD = 1_000
WORDS = "a the red green blue old small large house tree river bird boat street table window cloud stone road field".split()


def drawing(random: np.random.Generator) -> Image.Image:
    """A smooth colour field with rectangles and noise, 256 to 640 px a side."""
    width, height = (int(side) for side in random.integers(256, 641, 2))
    field = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
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


def main(folder: str, pairs: int) -> None:
    root, random = Path(folder), np.random.default_rng(1)
    (root / "images").mkdir(parents=True)
    (root / "tars").mkdir()
    truth = dict.fromkeys(("pairs", "kept", "duplicates", "damaged", "small", "short"), 0)
    last, tar, listed = drawing(random), None, []
    for number in range(pairs):
        fate, key = random.random(), f"{number:06d}"
        duplicate, damaged, short = fate < 0.03 and number > 0, 0.03 <= fate < 0.06, 0.06 <= fate < 0.08
        image = last if duplicate else drawing(random)
        data = jpeg(image, 80 if duplicate and fate < 0.015 else 88)
        if damaged:
            data = data[: len(data) // 2] if fate < 0.045 else random.bytes(2_000)
        caption = "a dog" if short else " ".join(random.choice(WORDS, int(random.integers(4, 20))))
        small = min(image.size) < SMALLEST
        fault = "damaged" if damaged else "short" if short else "small" if small else "duplicates" if duplicate else "kept"
        truth["pairs"] += 1
        truth[fault] += 1
        if fault == "kept":
            last = image  # so that what is repeated was kept itself
        if number % SHARD == 0:
            if tar is not None:
                tar.close()
            tar = tarfile.open(root / "tars" / f"{number // SHARD:05d}.tar", "w")
        assert tar is not None
        about = {"caption": caption, "texts": [caption, None], "images": [None, f"{key}.jpg"]}
        for name, content in ((f"{key}.json", json.dumps(about).encode()), (f"{key}.jpg", data)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        path = root / "images" / f"{key}.jpg"
        path.write_bytes(data)
        listed.append({"text": f"<__dj__image> {caption} <|__dj__eoc|>", "caption": caption, "images": [str(path.absolute())]})
    if tar is not None:
        tar.close()
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed))
    (root / "truth.json").write_text(json.dumps(truth))
    print(json.dumps(truth))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
