"""Reproduction of a checkpoint: train again from the recorded run, and compare tensor by tensor.

On CPUs, equal config, build, start, number of workers and threads give equal bits. Other kinds of hardware can differ.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open

from codi2_datasets.compare_builds import Compared, file_hash
from codi2_model.checkpoints.export import ship
from codi2_model.checkpoints.lookup import Trained
from codi2_model.checkpoints.registry import local_copy, resolve, weights_digest
from codi2_model.training.config import TrainConfig
from codi2_model.training.pipeline_stage import ProgressLogger, local_shards
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.errors import UsageError


def reproduce_training(catalog: Catalog, trained: Trained, shards: Catalog, folder: Path) -> Path:
    """Repeat the training of a checkpoint in the empty `folder`, on the shards of its build in the catalog `shards`.

    Returns the folder of the new checkpoint, in the form of the original. Raises ConfigError if the recorded config is not
    valid any more, UsageError if the start checkpoint has changed.
    """
    from codi2_model.training.ray_train import train_distributed

    run = trained.run
    workers = run["workers"] or 1
    config = TrainConfig.from_dict(json.loads(run["config"]), f"the config of run {run['run_id']}")
    if run["threads"] and not config.threads:
        config = replace(config, threads=run["threads"] * workers)
    start = None if run["start"] is None else resolve(catalog.store.uri(), run["start"])
    if start is not None and weights_digest(start)[:16] != run["start"]:
        raise UsageError(
            f"{start}: the weights are not those of {run['start']}, from which run {run['run_id']} started"
        )
    paths = local_shards(shards, trained.build_id)
    checkpoint = train_distributed(config, paths, folder, workers, on_metrics=ProgressLogger(config), start=start)
    return ship(checkpoint, folder / "shipped") if trained.variant else checkpoint


def has_published_shards(catalog: Catalog, build_id: str) -> bool:
    """Whether all train and validation shards of a build exist with their published content."""
    store = catalog.store
    query = "select shard, sha256 from shards where split in ('train', 'validation') order by shard"
    rows = catalog.sql(query, build=build_id).to_pylist()
    return all(store.exists(row["shard"]) and file_hash(store, row["shard"]) == row["sha256"] for row in rows)


def compare_checkpoints(trained: Trained, reproduced: Path) -> list[Compared]:
    """Compare a reproduced checkpoint with the recorded hash, and tensor by tensor if the original exists."""
    digest, recorded = weights_digest(reproduced), trained.checkpoint["sha256"]
    note = "" if digest == recorded else f"sha256 {recorded[:16]}, reproduced {digest[:16]}"
    weights = Compared("weights", 1, int(digest != recorded), note)
    try:
        original = local_copy(str(trained.checkpoint["uri"]))
        existing = weights_digest(original)
    except OSError:
        original, existing = None, None
    if original is None or not any(original.glob("*.safetensors")):
        return [replace(weights, note="the files of the original are gone; compared with its recorded hash only")]
    if existing != recorded:
        weights = replace(
            weights, different=1, first=f"{original}: the weights are not the recorded ones: {existing}"[:200]
        )
    return [weights, compare_tensors(original, reproduced)]


def compare_tensors(original: Path, reproduced: Path) -> Compared:
    """Compare tensors by name; reports the first that differs and the largest difference."""
    old, new = tensor_files(original), tensor_files(reproduced)
    names, differing = sorted({*old, *new}), 0
    first, largest, where = "", 0.0, ""
    for name in names:
        if name not in old or name not in new:
            problem = f"{name} is only in the {'original' if name in old else 'reproduced'} checkpoint"
        else:
            problem, gap = difference(name, tensor(old[name], name), tensor(new[name], name))
            if gap > largest:
                largest, where = gap, name
        differing += bool(problem)
        first = first or problem
    if where:
        first = f"{first}; the largest difference is {largest:.3g}, in {where}"
    return Compared("tensors", len(names), differing, first)


def difference(name: str, old: torch.Tensor, new: torch.Tensor) -> tuple[str, float]:
    """(description of a difference, empty for equal bits; maximum absolute difference)."""
    if old.dtype != new.dtype or old.shape != new.shape:
        return f"{name} is {old.dtype} {tuple(old.shape)}, reproduced {new.dtype} {tuple(new.shape)}", 0.0
    if old.reshape(-1).view(torch.uint8).equal(new.reshape(-1).view(torch.uint8)):
        return "", 0.0
    return f"{name} differs", float((old.double() - new.double()).abs().max())


def tensor_files(folder: Path) -> dict[str, Path]:
    """Tensor name -> safetensors file of a checkpoint."""
    files: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            files |= dict.fromkeys(file.keys(), path)
    return files


def tensor(path: Path, name: str) -> torch.Tensor:
    """Read a tensor from a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name)
