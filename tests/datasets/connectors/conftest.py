"""The published corpora in small, written once; and where each connector finds its own."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from codi2_datasets.connectors import CorpusLocation, connectors

# connector, with a number where it reads two kinds of files -> published files, media
WHERE = {
    "alpaca": ("alpaca", ""),
    "audiocaps": ("audiocaps", ""),
    "audioset": ("audioset", ""),
    "audioset 2": ("audioset-tars", "audioset-tars/tars"),
    "cc12m": ("conceptual/cc12m/*.gz", "conceptual/cc12m/fetched"),
    "cc3m": ("conceptual/cc3m/*.tsv", "conceptual/cc3m/fetched"),
    "clotho": ("clotho", ""),
    "coco": ("coco/annotations", "coco/train2017"),
    "coyo": ("coyo/*.parquet", "coyo/fetched"),
    "dolly": ("dolly", ""),
    "esc50": ("esc50", ""),
    "instructpix2pix": ("instructpix2pix/folders", ""),
    "instructpix2pix 2": ("instructpix2pix/parquet", ""),
    "laion": ("laion/*.parquet", "laion/fetched"),
    "llava-instruct": ("llava/*.json", "llava/images"),
    "magicbrush": ("magicbrush", ""),
    "metaicl": ("metaicl", ""),
    "mimic-it": ("mimic-it", ""),
    "mmc4": ("mmc4/*.zip", "mmc4/fetched"),
    "natural-instructions": ("natural-instructions", ""),
    "obelics": ("obelics/*.parquet", "obelics/fetched"),
    "vggsound": ("vggsound", ""),
    "wavcaps": ("wavcaps/json_files", "wavcaps/audio"),
    "webdataset": ("webdataset", ""),
    "webvid": ("webvid", ""),
}


def load(name: str) -> ModuleType:
    """A module of this folder, which no package path leads to."""
    spec = importlib.util.spec_from_file_location(f"_codi2_test_{name}", Path(__file__).parent / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fixtures() -> ModuleType:
    return load("published")


@pytest.fixture(scope="session")
def making() -> ModuleType:
    return load("making")


@pytest.fixture(scope="session")
def published(fixtures: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fixtures.write_every(tmp_path_factory.mktemp("published"))


def place(root: Path | str, which: str, **options: Any) -> CorpusLocation:
    path, media = WHERE[which]
    name = which.split()[0]
    known = {**connectors()[name].options, **options}
    return CorpusLocation(name, f"{root}/{path}", f"{root}/{media}" if media else "", known)


@pytest.fixture(scope="session")
def where() -> dict[str, tuple[str, str]]:
    return WHERE


@pytest.fixture(scope="session")
def place_of() -> Any:
    return place


@pytest.fixture(scope="module")
def served_files(published: Path, bucket: str) -> Iterator[tuple[str, str]]:
    """The published files in a bucket of a real S3-speaking server, and on a web server: their roots."""
    import http.server
    from functools import partial

    from s3fs import S3FileSystem

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(published)))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    S3FileSystem().put(f"{published}/laion", f"{bucket}/laion", recursive=True)
    yield bucket, f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    web.server_close()
