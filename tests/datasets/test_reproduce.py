"""A build made again from its row in the catalog: the same bytes, or a line that says what is not the same."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from codi2_datasets import build as library
from codi2_datasets.compare_builds import Compared, compare_builds
from codi2_datasets.corpora import SourceRow, corpora
from codi2_datasets.opt_out import forget
from codi2_datasets.reproduce import ReproduceError, reproduce_build
from codi2_storage.catalog.catalog import Catalog, CatalogError

TASKS = {"text_to_image": {"train": 60, "test": 8}, "exemplar_learning": {"train": 60, "test": 8}}


@dataclass(frozen=True)
class Prints:
    """Pictures in a folder: eighteen things in three styles."""

    source: str
    name: str = "prints"
    version: str = "1"
    companions: tuple[str, ...] = ()
    licence: str = "CC0-1.0"
    description: str = "Prints for a test"
    tasks: tuple[str, ...] = ("text_to_image",)
    size: str = "54 images"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow]:
        for path in sorted(package.glob("*.png")):
            thing, style = path.stem.split("-")
            attributes = {"concept": thing, "family": thing, "style": style, "tone": 0}
            yield SourceRow(
                self.name, path.name, "image", path.read_bytes(), "image/png", self.licence, "us", thing, attributes
            )


def draw(path: Path, seed: int) -> None:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "prints"
    made.mkdir()
    for number in range(54):
        draw(made / f"thing{number // 3:02d}-{('ink', 'oil', 'wool')[number % 3]}.png", number)
    monkeypatch.setitem(corpora(), "prints", Prints(f"file:{made}"))
    return made


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "recipe.yaml"
    said = {"name": "again", "seed": 3, "corpora": [{"name": "prints"}], "image": {"size": 16}, "tasks": TASKS}
    path.write_text(yaml.safe_dump({**said, "shards": {"samples": 16}}))
    return str(path)


def run(recipe: str, root: Path, workers: int = 2, limit: int | None = None) -> str:
    return library.build(library.Settings(recipe, str(root), workers, limit)).build_id


def again(root: Path, build: str, scratch: Path, workers: int = 1) -> dict[str, Compared]:
    """What differs between a build and itself made again, by kind; every kind was looked at."""
    name = reproduce_build(Catalog(str(root)), build, str(scratch), workers)
    found = compare_builds(Catalog(str(root)), build, Catalog(str(scratch)), name)
    assert {line.what for line in found} >= {"shards", "media", "table samples", "table parts", "table assets"}
    assert next(line for line in found if line.what == "shards").number > 1
    return {line.what: line for line in found if line.different}


def test_a_build_comes_out_the_same_by_another_number_of_workers(
    folder: Path, recipe: str, tmp_path: Path, ray_cluster: None
) -> None:
    root = tmp_path / "root"
    limited = run(recipe, root, workers=2, limit=40)
    assert again(root, limited, tmp_path / "limited", workers=1) == {}
    assert Path(recipe).unlink() is None  # the catalog's own words are enough
    assert again(root, limited, tmp_path / "three", workers=3) == {}


@pytest.mark.slow
def test_a_delta_build_and_one_after_an_opt_out_equal_those_from_nothing(
    folder: Path, recipe: str, tmp_path: Path, ray_cluster: None
) -> None:
    root = tmp_path / "root"
    first = run(recipe, root)
    (folder / "thing99-ink.png").write_bytes((folder / "thing07-ink.png").read_bytes())
    draw(folder / "thing07-oil.png", 999)
    delta = run(recipe, root)
    assert delta != first and again(root, delta, tmp_path / "delta") == {}
    shown = "select s.corpus || ':' || s.locator as name from parts p join assets a using (asset_id) join source_rows s using (source_row_id) order by 1"
    names = [row["name"] for row in Catalog(str(root)).sql(shown).to_pylist()]
    less = forget(str(root), [names[0]])
    lesser = forget(str(root), [names[-1]])
    after = run(recipe, root)
    assert len({first, delta, less, lesser, after}) == 5
    for build in (lesser, after):
        assert again(root, build, tmp_path / f"again-{build}") == {}
    with pytest.raises(ReproduceError, match=r"corpus prints is not to be had as it was: .*file:"):
        again(root, first, tmp_path / "first")


def test_what_differs_is_named_to_the_member(folder: Path, recipe: str, tmp_path: Path, ray_cluster: None) -> None:
    root = tmp_path / "root"
    build = run(recipe, root)
    catalog = Catalog(str(root))
    shard = catalog.sql("select shard from shards where task = 'text_to_image' order by 1 limit 1").to_pylist()[0][
        "shard"
    ]
    tampered = bytearray((root / shard).read_bytes())
    place = tampered.index(b'"schema_version"')
    tampered[place + 1] ^= 1
    (root / shard).write_bytes(tampered)
    found = again(root, build, tmp_path / "again")
    assert set(found) == {"shards"} and found["shards"].different == 1
    assert (
        found["shards"].first.startswith(f"{shard}: member ")
        and ".json (not what was published" in found["shards"].first
    )
    (root / shard).unlink()
    compared = compare_builds(Catalog(str(root)), build, Catalog(str(tmp_path / "again")), build)
    [line] = [line for line in compared if line.what == "shards"]
    assert not line.different and line.note.startswith("1 gone")


def test_a_build_that_is_not_there_or_whose_corpus_is_gone_says_so(
    folder: Path, recipe: str, tmp_path: Path, ray_cluster: None
) -> None:
    root = tmp_path / "root"
    build = run(recipe, root)
    with pytest.raises(CatalogError, match="no published build 'nope'"):
        reproduce_build(Catalog(str(root)), "nope", str(tmp_path / "nope"), 1)
    folder.rename(tmp_path / "moved")
    with pytest.raises(ReproduceError, match="corpus prints can no longer be had: file:"):
        reproduce_build(Catalog(str(root)), build, str(tmp_path / "gone"), 1)


def test_a_build_from_files_inside_its_root_comes_out_the_same_where_the_root_was_moved(tmp_path: Path) -> None:
    (tmp_path / "one/fetched").mkdir(parents=True)
    rows = [{"instruction": f"Say {n}.", "input": "", "output": f"{n} it is."} for n in range(40)]
    (tmp_path / "one/fetched/alpaca.json").write_text(json.dumps(rows))
    said = {"name": "inside", "seed": 3, "corpora": [{"name": "alpaca", "path": f"{tmp_path}/one/fetched"}]}
    held = [{"name": "held", "folder": f"{tmp_path}/elsewhere"}]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.txt").write_text(
        "Nothing that any of these rows says, in more words than ten of them have."
    )
    tasks = {"text_instruction": {"train": 20, "test": 4}}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**said, "tasks": tasks, "decontaminate": held}))
    build = run(str(recipe), tmp_path / "one", workers=1)
    (tmp_path / "one").rename(tmp_path / "two")
    catalog = Catalog(str(tmp_path / "two"))
    [spec] = [json.loads(row["spec"]) for row in catalog.sql("select spec from builds").to_pylist()]
    assert spec["corpora"][0]["path"] == "{root}/fetched" and spec["decontaminate"] == held
    assert reproduce_build(catalog, build, str(tmp_path / "scratch"), 1) == build
    assert not (tmp_path / "one").exists()
    recipe.write_text(recipe.read_text().replace("/one/", "/two/"))
    assert run(str(recipe), tmp_path / "two", workers=1) == build
