"""Roots with partitions, builds, trainings, promotions and opt-outs, for garbage collection."""

from __future__ import annotations

import hashlib

from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store

LATER = 4e9  # a moment at which everything written now is old
DAY = 24 * 3600.0


def partition(store: Store, name: str) -> None:
    """One of two media and their signals, as ingest and enrich commit them."""
    store.write_bytes(f"assets/{name}.tar", name.encode() * 4)
    with Writer(store, name, "ingest", info={"corpus": "c", "modalities": ["image"]}) as writer:
        size = len(name)
        rows = [{"asset_id": f"{name}-{n}", "corpus": "c", "shard": f"assets/{name}.tar", "offset": n * size,
                 "bytes": size, "source_row_id": f"row-{name}-{n}"} for n in range(2)]  # fmt: skip
        writer.append("ingested", rows)
    with Writer(store, f"{name}-sig", "ingest", info={"measures": name, "operators": []}) as writer:
        writer.append("signals", [{"asset_id": f"{name}-0", "op": "o", "name": "n", "value": 1.0}])
    with Writer(store, f"{name}-corpus", "ingest", uses=[name]) as writer:
        writer.append("corpora", [{"corpus": "c", "revision": "1"}])
        writer.append(
            "source_rows", [{"source_row_id": f"row-{name}-{n}", "corpus": "c", "revision": "1"} for n in range(2)]
        )


def build(store: Store, name: str, recipe: str, partitions: list[str]) -> None:
    uses = [f"{p}{suffix}" for p in partitions for suffix in ("", "-sig", "-corpus")]
    content = name.encode()
    shard = f"shards/t/train-{'-'.join(partitions)}.tar"  # shared by builds of the same partitions
    store.write_bytes(shard, shard.encode())
    store.write_bytes(shard.removesuffix(".tar") + ".json", b"{}")
    store.write_bytes(f"builds/{name}/statistics.json", content)
    with Writer(store, name, "build", uses=uses, info={"created_at": name, "recipe": recipe}) as writer:
        writer.append("builds", [{"build_id": name, "recipe": recipe, "created_at": name}])
        told = {"build_id": name, "shard": shard, "sha256": hashlib.sha256(shard.encode()).hexdigest()}
        writer.append("shards", [told])
        writer.append(
            "samples", [{"build_id": name, "sample_id": f"s-{name}", "task": "t", "shard": shard, "meta": "{}"}]
        )
        asset = f"{partitions[0]}-0"
        writer.append("parts", [{"build_id": name, "sample_id": f"s-{name}", "position": 0, "asset_id": asset}])
        row = {
            "asset_id": asset,
            "source_row_id": f"row-{asset}",
            "corpus": "c",
            "shard": f"assets/{partitions[0]}.tar",
        }
        writer.append("assets", [row])


def train(store: Store, name: str, build_id: str, start: str | None = None) -> None:
    store.write_bytes(f"runs/{name}/checkpoint/model.safetensors", name.encode())
    with Writer(store, name, "run") as writer:
        writer.append("runs", [{"run_id": name, "kind": "train", "build_id": build_id, "start": start}])
        writer.append("checkpoints", [{"checkpoint_id": f"ck-{name}", "run_id": name, "sha256": "x"}])
    evaluation = f"evaluation-{name}"
    store.write_bytes(f"evaluations/{evaluation}/index.html", b"page")
    with Writer(store, evaluation, "run") as writer:
        writer.append("runs", [{"run_id": evaluation, "kind": "evaluation", "build_id": build_id}])
        writer.append("metrics", [{"run_id": evaluation, "checkpoint_id": f"ck-{name}", "metric": "m", "value": 1.0}])


def promote(store: Store, checkpoint: str, since: str) -> None:
    with Writer(store, f"default-{since}", "deployment") as writer:
        writer.append("deployments", [{"name": "default", "checkpoint_id": checkpoint, "since": since}])


def forget(store: Store, asset: str) -> None:
    with Writer(store, f"forget-{asset}", "forget") as writer:
        writer.append("forgotten", [{"asset_id": asset, "source_row_id": f"row-{asset}"}])


def whole(store: Store) -> None:
    """Every file that a commit names is there with its hash."""
    catalog = Catalog(store)
    for commit in catalog.commits:
        for file in commit.files:
            assert hashlib.sha256(store.read_bytes(file.path)).hexdigest() == file.sha256
        if commit.kind == "ingest" and "modalities" in commit.info:
            assert store.exists(f"assets/{commit.id}.tar")
        assert all(any(other.id == used for other in catalog.commits) for used in commit.uses)
    for row in catalog.sql("select shard, sha256 from shards", all_builds=True).to_pylist():
        assert hashlib.sha256(store.read_bytes(row["shard"])).hexdigest() == row["sha256"]
