"""A small published build: drawn shapes and tones in real shards, with the catalog rows that a build writes."""

from __future__ import annotations

import importlib.util
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from codi2_datasets.sample import Sample
from codi2_storage.manifests import Writer
from codi2_storage.store import Store

TASKS = ("text_to_image", "image_captioning", "image_editing", "exemplar_learning", "text_to_audio", "audio_editing")


def shards_module() -> Any:
    """tests/codi2_model/shards.py, which no package path leads to."""
    name = "_codi2_test_shards"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "shards.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def build_root(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("evaluation-root")
    paths = shards_module().write_shards(root, tasks=TASKS, train=40, held_out=20)
    store = Store(str(root))
    samples, parts, assets = [], [], {}
    for path in paths:
        shard = str(Path(path).relative_to(root))
        with tarfile.open(path) as archive:
            members = {info.name: info for info in archive}
            for name in sorted(members):
                if not name.endswith(".json"):
                    continue
                content = archive.extractfile(members[name])
                assert content is not None
                sample = Sample.from_json(content.read())
                row = {"build_id": "b1", "sample_id": sample.sample_id, "task": sample.task, "split": sample.split}
                row |= {"holdout": sample.holdout, "shard": shard, "meta": json.dumps(sample.meta), "seed": sample.seed}
                samples.append(row)
                position = 0
                for turn, message in enumerate(sample.messages):
                    for part in message.content:
                        about = {"turn": turn, "role": message.role, "position": position, "target": part.target}
                        about |= {"modality": part.type, "text": part.text, "asset_id": part.asset_id}
                        parts.append(
                            {"build_id": "b1", "sample_id": sample.sample_id, "icl_role": part.icl_role, **about}
                        )
                        if part.part and part.icl_role == "target" and sample.task == "text_to_image":
                            info = members[f"{sample.sample_id}.{part.part}"]
                            place = {"shard": shard, "offset": info.offset_data, "bytes": info.size}
                            asset = {
                                "asset_id": part.asset_id,
                                "modality": "image",
                                "attributes": json.dumps(sample.meta),
                            }
                            assets[part.asset_id] = {**asset, **place}
                        position += 1
    with Writer(store, "b1", "build", info={"created_at": "2026-01-01"}) as writer:
        writer.append("samples", samples)
        writer.append("parts", parts)
        writer.append("assets", [assets[key] for key in sorted(assets)])
    return str(root)
