"""A root in a bucket of a real S3-speaking server: the same dataset as in a folder, and every command that reads it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import yaml

from codi2_datasets.build import Settings, build
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.lineage import explain
from codi2_storage.store import Store

TASKS = ("text_to_image", "image_editing", "text_instruction")
RECIPE = {
    "name": "bucket", "seed": 4, "image": {"size": 32},
    "corpora": [{"name": name} for name in ("emoji-noto", "emoji-twemoji", "chitchat")],
    "splits": {"test_concepts": 0.15, "validation_concepts": 0.05},
    "tasks": {task: {"train": 20, "validation": 2, "test": 6} for task in TASKS},
}  # fmt: skip


def codi2(*arguments: str) -> str:
    """The last line that a command prints."""
    outside = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-m", "codi2_flows.cli.main", *arguments],
        capture_output=True,
        text=True,
        env=outside,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout.strip().splitlines()[-1]


def sums(root: str) -> dict[str, str]:
    store = Store(root)
    return {n: hashlib.sha256(store.read_bytes(n)).hexdigest() for n in store.list() if n.endswith(".tar")}


def test_a_bucket_holds_what_a_folder_holds(bucket: str, ray_cluster: None, tmp_path: Path) -> None:
    recipe = tmp_path / "bucket.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    away = f"{bucket}/root"
    there = codi2("build", str(recipe), "--root", away, "--workers", "2", "--limit", "40")
    here = build(Settings(str(recipe), str(tmp_path / "root"), workers=1, limit=40))
    assert there == here.build_id and sums(away) == sums(str(tmp_path / "root")) and len(sums(away)) > len(TASKS)
    wrote = {name: Store(away).fs.info(f"{away}/{name}")["LastModified"] for name in sums(away)}
    assert not build(Settings(str(recipe), away, limit=40)).fresh
    assert wrote == {name: Store(away).fs.info(f"{away}/{name}")["LastModified"] for name in sums(away)}
    rows = Catalog(away).sql("select task, min(sample_id) as sample from samples group by task").to_pylist()
    assert {row["task"] for row in rows} == set(TASKS)
    assert explain(away, rows[0]["sample"])["sample"]["task"] == rows[0]["task"]
