"""Fixtures: a small published build of shapes and tones in real shards, with its catalog rows."""

from __future__ import annotations

import importlib.util
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from codi2_datasets.formats.sample import Sample
from codi2_storage.commits.manifests import Writer
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
    return write_build(tmp_path_factory.mktemp("evaluation-root"), TASKS)


@pytest.fixture(scope="session")
def bench_root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As `build_root`, with videos, and edits with relations."""
    return write_build(tmp_path_factory.mktemp("bench-root"), (*TASKS, "text_to_video"), relations=True)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("evaluation") / "checkpoint")


@pytest.fixture(scope="session")
def deaf_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that supports images only."""
    return write_checkpoint(tmp_path_factory.mktemp("evaluation") / "deaf", modalities=["image"])


@pytest.fixture(scope="session")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("evaluation") / "other", seed=1)


def write_checkpoint(folder: Path, seed: int = 0, **options: Any) -> Path:
    import torch

    from codi2_model import CoDi2Config, CoDi2ForConditionalGeneration, CoDi2Processor

    torch.manual_seed(seed)
    config = CoDi2Config.preset("tiny", vocab_size=400, max_length=256, **options)
    processor = CoDi2Processor.build(config, texts=["Draw a red circle in flat style.", "Play a low sine tone."] * 8)
    CoDi2ForConditionalGeneration(processor.config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_build(root: Path, tasks: tuple[str, ...], relations: bool = False) -> str:
    paths = shards_module().write_shards(root, tasks=tasks, train=40, held_out=20)
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
                told = {**sample.meta, "relation": f"style {sample.meta['style']}"} if relations else sample.meta
                row |= {"holdout": sample.holdout, "shard": shard, "meta": json.dumps(told), "seed": sample.seed}
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
