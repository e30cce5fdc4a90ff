"""Delta builds and opt-out: little is done again, and the bytes are those of a build from nothing."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from codi2_datasets import build as library
from codi2_datasets.corpora import SourceRow, corpora
from codi2_datasets.opt_out import forget, forget_summary
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.errors import UsageError

STYLES = ("ink", "oil", "clay", "wool")


@dataclass(frozen=True)
class Drawings:
    """A hundred and twenty pictures in a folder: thirty things in four styles."""

    source: str
    name: str = "drawings"
    version: str = "1"
    companions: tuple[str, ...] = ()
    licence: str = "CC0-1.0"
    description: str = "Drawings for a test"
    tasks: tuple[str, ...] = ("text_to_image", "exemplar_learning")
    size: str = "120 images"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow]:
        for path in sorted(package.glob("*.png")):
            thing, style = path.stem.split("-")
            attributes = {"concept": thing, "family": thing, "style": style, "tone": 0}
            yield SourceRow(self.name, path.name, "image", path.read_bytes(), "image/png", self.licence, "us", thing,
                            attributes)  # fmt: skip


def draw(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "drawings"
    made.mkdir()
    for thing in range(30):
        for number, style in enumerate(STYLES):
            (made / f"thing{thing:02d}-{style}.png").write_bytes(draw(100 * thing + number))
    monkeypatch.setitem(corpora(), "drawings", Drawings(f"file:{made}"))
    return made


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "recipe.yaml"
    tasks = {"text_to_image": {"train": 150, "test": 10}, "exemplar_learning": {"train": 150, "test": 10}}
    said = {"name": "delta", "seed": 3, "corpora": [{"name": "drawings"}], "image": {"size": 32}, "tasks": tasks}
    path.write_text(yaml.safe_dump({**said, "shards": {"samples": 4}}))
    return str(path)


def run(recipe: str, root: Path) -> str:
    return library.build(library.Settings(recipe, str(root), workers=2)).build_id


def shards(root: Path, build: str) -> dict[str, str]:
    """sha256 of every tar that a build uses: its shards, and the assets' own."""
    catalog = Catalog(str(root))
    rows = catalog.sql(
        "select shard from shards union select shard from assets where shard is not null", build=build
    ).to_pylist()
    return {row["shard"]: hashlib.sha256((root / row["shard"]).read_bytes()).hexdigest() for row in rows}


def test_a_changed_row_rewrites_little_and_gives_the_bytes_of_a_full_build(
    folder: Path, recipe: str, tmp_path: Path, ray_cluster: None
) -> None:
    root = tmp_path / "root"
    old = run(recipe, root)
    before = shards(root, old)
    (folder / "thing07-oil.png").write_bytes(draw(99_999))
    new = run(recipe, root)
    after = shards(root, new)
    assert after == shards(tmp_path / "fresh", run(recipe, tmp_path / "fresh"))
    rewritten = {name for name in after if name.startswith("shards/") and name not in before}
    of = [ranges(root, build) for build in (old, new)]
    changed = {place for place in of[0] | of[1] if of[0].get(place) != of[1].get(place)}
    assert {re.sub("-[0-9a-f]+[.]tar$", "", name) for name in rewritten} == changed & set(of[1])
    came = set().union(*of[1].values()) - set().union(*of[0].values())
    assert 0 < len(came) < 320 / 5


def ranges(root: Path, build: str) -> dict[str, set[str]]:
    """The sample ids in each shard, by its name without the hash of its plan."""
    found: dict[str, set[str]] = {}
    for row in Catalog(str(root)).sql("select sample_id, shard from samples", build=build).to_pylist():
        found.setdefault(re.sub("-[0-9a-f]+[.]tar$", "", row["shard"]), set()).add(row["sample_id"])
    return found


def test_forgetting_removes_a_work_wherever_it_was_shown(
    folder: Path, recipe: str, tmp_path: Path, ray_cluster: None
) -> None:
    root = tmp_path / "root"
    old = run(recipe, root)
    catalog = Catalog(str(root))
    shown = "select distinct asset_id from parts where icl_role like 'demo%' order by 1 limit 1"
    asset = catalog.sql(shown).to_pylist()[0]["asset_id"]
    row = catalog.sql("select source_row_id from assets where asset_id = ?", [asset]).to_pylist()[0]["source_row_id"]
    users = catalog.sql(
        "select distinct s.sample_id, s.shard from samples s join parts p using (sample_id) where p.asset_id = ?",
        [asset],
    ).to_pylist()
    before = shards(root, old)
    new = forget(str(root), [row])
    catalog = Catalog(str(root))
    assert catalog.latest_build() == new
    for table in ("assets", "parts", "plan"):
        assert catalog.sql(f"select count(*) as n from {table} where asset_id = ?", [asset]).to_pylist() == [{"n": 0}]
    left = {r["sample_id"] for r in catalog.sql("select sample_id from samples").to_pylist()}
    everything = {r["sample_id"] for r in catalog.sql("select sample_id from samples", build=old).to_pylist()}
    assert left == everything - {user["sample_id"] for user in users}
    assert re.fullmatch(
        rf"left out: [1-9]\d* assets and {len(users)} samples; {len(left)} samples stay, 1 source rows are forgotten for good",
        forget_summary(str(root), new),
    )
    after = shards(root, new)
    concerned = {user["shard"] for user in users}
    assert set(before) - set(after) == concerned
    assert all(before[name] == after[name] for name in set(before) & set(after))
    balance = "select count(*) as n from op_runs where rows_in <> rows_out + rejected + failed"
    assert catalog.sql(balance).to_pylist() == [{"n": 0}]
    ledger = "select (select count(*) from rejects) - (select sum(rejected + failed) from op_runs) as n"
    assert catalog.sql(ledger).to_pylist() == [{"n": 0}]
    again = run(recipe, root)
    assert again not in (old, new)
    assert (
        Catalog(str(root)).sql("select count(*) as n from assets where asset_id = ?", [asset]).to_pylist()[0]["n"] == 0
    )


def test_forgetting_what_is_not_there_says_so(folder: Path, recipe: str, tmp_path: Path, ray_cluster: None) -> None:
    root = tmp_path / "root"
    with pytest.raises(UsageError, match="no published build"):
        forget(str(root), ["x"])
    run(recipe, root)
    with pytest.raises(UsageError, match="no source row 'nothing'"):
        forget(str(root), ["nothing"])
    shutil.rmtree(root)
