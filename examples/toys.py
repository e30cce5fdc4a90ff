"""A toy corpus for the notebooks: 72 drawings of shapes with captions, in a tar, and a root with a build of it."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import yaml
from PIL import Image, ImageDraw

from codi2_datasets.build import Settings, build
from codi2_storage.catalog.catalog import Catalog

HOME = Path(os.environ.get("CODI2_EXAMPLES", "data/examples"))
SHAPES = {"triangle": 3, "square": 4, "pentagon": 5, "hexagon": 6}
COLOURS = ("red", "green", "blue", "orange", "purple", "teal")
SIZES = {"small": 14, "large": 26, "huge": 31}
COUNTS = {"train": 60, "validation": 4, "test": 8}


def drawing(shape: str, colour: str, size: str) -> Image.Image:
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).regular_polygon((32, 32, SIZES[size]), SHAPES[shape], rotation=10, fill=colour)
    return image


def write_shapes(path: Path) -> Path:
    """The corpus as others publish theirs: a tar of NAME.png and NAME.json with a caption."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for size in SIZES:
            for colour in COLOURS:
                for shape in SHAPES:
                    buffer = io.BytesIO()
                    drawing(shape, colour, size).save(buffer, "PNG")
                    about = {"caption": f"a {size} {colour} {shape}", "licence": "CC0-1.0", "author": "the notebook"}
                    name = f"{size}-{colour}-{shape}"
                    for ending, data in (("png", buffer.getvalue()), ("json", json.dumps(about).encode())):
                        info = tarfile.TarInfo(f"{name}.{ending}")
                        info.size = len(data)
                        archive.addfile(info, io.BytesIO(data))
    return path


def recipe(tar: Path) -> dict:
    """What to build of it."""
    return {
        "name": "shapes",
        "seed": 1,
        "corpora": [{"name": "webdataset", "label": "shapes", "path": str(tar.absolute())}],
        "image": {"size": 32},
        "splits": {"test_concepts": 0.15, "validation_concepts": 0.1},
        "tasks": {"text_to_image": COUNTS, "image_captioning": COUNTS},
        "shards": {"samples": 100},
    }


def toy_root() -> str:
    """A root with a build of the shapes, which is made at the first call."""
    root = HOME / "root"
    if Catalog(str(root)).latest_build() is None:
        file = HOME / "shapes.yaml"
        tar = write_shapes(HOME / "shapes.tar")
        file.write_text(yaml.safe_dump(recipe(tar), sort_keys=False))
        build(Settings(str(file), str(root), workers=1))
    return str(root)
