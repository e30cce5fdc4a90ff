"""A checkpoint trained again from what the catalog says of its run, and compared tensor by tensor.

On CPUs equal config, build, start, number of workers and threads give equal bits; on another kind of machine they need not.
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
from codi2_model.checkpoints.registry import UsageError, local_copy, resolve, weights_digest
from codi2_model.training.config import TrainConfig
from codi2_model.training.pipeline_stage import ProgressLogger, local_shards
from codi2_storage.catalog.catalog import Catalog


def train_again(catalog: Catalog, trained: Trained, shards: Catalog, folder: Path) -> Path:
    """Train once more in `folder`, which holds no other run, on the build's shards as `shards` has them.

    Returns the checkpoint's folder, in the form of the original. Raises ConfigError where this code knows the config no more.
    """
    from codi2_model.training.ray_train import train_distributed

    run = trained.run
    workers = run["workers"] or 1
    config = TrainConfig.from_dict(json.loads(run["config"]), f"the config of run {run['run_id']}")
    if run["threads"] and not config.threads:
        config = replace(config, threads=run["threads"] * workers)
    start = None if run["start"] is None else resolve(catalog.store.uri(), run["start"])
    if start is not None and weights_digest(start)[:16] != run["start"]:
        raise UsageError(f"{start} holds other weights than {run['start']}, which run {run['run_id']} began with")
    paths = local_shards(shards, trained.build_id)
    made = train_distributed(config, paths, folder, workers, on_metrics=ProgressLogger(config), start=start)
    return ship(made, folder / "shipped") if trained.variant else made


def shards_at_hand(catalog: Catalog, build_id: str) -> bool:
    """Whether what the build's models are trained on is there as it was published."""
    store = catalog.store
    query = "select shard, sha256 from shards where split in ('train', 'validation') order by shard"
    rows = catalog.sql(query, build=build_id).to_pylist()
    return all(store.exists(row["shard"]) and file_hash(store, row["shard"]) == row["sha256"] for row in rows)


def compare_checkpoints(trained: Trained, made: Path) -> list[Compared]:
    """The weights by their hash, and where that differs tensor by tensor."""
    digest, recorded = weights_digest(made), trained.checkpoint["sha256"]
    said = "" if digest == recorded else f"sha256 {recorded[:16]}, made again {digest[:16]}"
    weights = Compared("weights", 1, int(digest != recorded), said)
    try:
        original = local_copy(str(trained.checkpoint["uri"]))
        found = weights_digest(original)
    except OSError:
        original, found = None, None
    if original is None or not any(original.glob("*.safetensors")):
        return [replace(weights, note="the original's files are gone; it is known by its recorded hash")]
    if found != recorded:
        weights = replace(
            weights, different=1, first=f"{original} holds other weights than were recorded: {found}"[:200]
        )
    return [weights, compare_tensors(original, made)]


def compare_tensors(original: Path, made: Path) -> Compared:
    """Every tensor by name: the first that differs, and where the largest difference lies."""
    old, new = tensor_files(original), tensor_files(made)
    names, differing = sorted({*old, *new}), 0
    first, largest, where = "", 0.0, ""
    for name in names:
        if name not in old or name not in new:
            problem = f"{name} is in {'the original' if name in old else 'the new one'} alone"
        else:
            one, two = tensor(old[name], name), tensor(new[name], name)
            problem, gap = difference(name, one, two)
            if gap > largest:
                largest, where = gap, name
        differing += bool(problem)
        first = first or problem
    if where:
        first = f"{first}; the largest difference is {largest:.3g}, in {where}"
    return Compared("tensors", len(names), differing, first)


def difference(name: str, one: torch.Tensor, two: torch.Tensor) -> tuple[str, float]:
    """What differs in words (empty: nothing, to the bit), and by how much at most."""
    if one.dtype != two.dtype or one.shape != two.shape:
        return f"{name} is {one.dtype} {tuple(one.shape)}, made again {two.dtype} {tuple(two.shape)}", 0.0
    if one.reshape(-1).view(torch.uint8).equal(two.reshape(-1).view(torch.uint8)):
        return "", 0.0
    return f"{name} differs", float((one.double() - two.double()).abs().max())


def tensor_files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found |= dict.fromkeys(file.keys(), path)
    return found


def tensor(path: Path, name: str) -> torch.Tensor:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name)
