"""A corpus with attributes of its own, added as one file, gets edits, examples and conversations about them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module, reload
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from codi2_datasets import corpora as package
from codi2_datasets.corpora import Attribute, corpora
from codi2_datasets.planning.tables import attribute_names
from codi2_datasets.recipe_schema import CorpusChoice, Recipe, TaskChoice
from codi2_datasets.steps.dry_run import check_planner, nothing_selected
from codi2_datasets.steps.plan import plan
from codi2_datasets.steps.select import select
from codi2_datasets.tasks import planners
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.tables import TABLES

GARDEN = """
from codi2_datasets.corpora.attributes import Attribute
from codi2_datasets.corpora.base import SourceRow


class Garden:
    name, version, source, companions, licence = "garden", "1", "file:garden", (), "CC0-1.0"
    description, tasks, size = "Animals in every season", ("image_editing", "exemplar_learning"), "90 images"
    attributes = (
        Attribute(name="season", same=("concept", "pose")),
        Attribute(
            name="pose", same=("concept", "season"), neutral="standing", words={"lying": "lie", "sitting": "sit"},
            edits=(("Let the animal in [query] {pose} down.", "[target]"),) * 3, asks=("Now it should {x}.",),
        ),
    )

    def rows(self, package, companions):
        for n in range(15):
            for season in ("spring", "summer", "winter"):
                for pose in ("standing", "lying", "sitting"):
                    more = {"concept": f"animal {n}", "family": f"animal {n}", "season": season, "pose": pose}
                    locator = f"{n}-{season}-{pose}"
                    yield SourceRow(self.name, locator, "image", b"", "image/png", "CC0-1.0", "us", f"animal {n}", more)


CORPUS = Garden()
"""
TASKS = ("image_editing", "exemplar_learning", "multi_turn")


@pytest.fixture
def garden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The corpus in a folder of its own, and the registries as a process that starts with it has them."""

    def again() -> None:
        for registry in (corpora, planners, nothing_selected):
            registry.cache_clear()
        for task in TASKS:
            reload(import_module(f"codi2_datasets.tasks.{task}"))

    (tmp_path / "garden.py").write_text(GARDEN)
    with monkeypatch.context() as patch:
        patch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        again()
        yield
    again()


def planned(root: Path) -> list[dict[str, Any]]:
    """The parts of the samples that select and plan make of the corpus, with the attributes of the media."""
    rows = []
    for row in corpora()["garden"].rows(root, {}):
        head = {"asset_id": row.locator, "source_row_id": row.locator, "corpus": row.corpus, "modality": row.modality}
        rows.append({**head, "licence": row.licence, "caption": row.caption, "attributes": json.dumps(row.attributes)})
    sources = [{"source_row_id": row["asset_id"], "corpus": "garden", "locator": row["asset_id"]} for row in rows]
    recipe = Recipe("r", 1, (CorpusChoice("garden"),), {task: TaskChoice(300) for task in TASKS})
    with Catalog(str(root)).connect(only=[]) as connection:
        for table, values in (("ingested", rows), ("source_rows", sources)):
            connection.register("given", pa.Table.from_pylist(values, schema=TABLES[table]))
            connection.execute(f"insert into columns.{table} select * from given")
        select(connection, "b", recipe)
        plan(connection, "b", recipe)
        query = """select p.*, s.task, s.meta, a.attributes from planned_parts p join planned_samples s using (sample_id)
                   left join selected a using (asset_id) order by sample_id, position"""
        return connection.execute(query).to_arrow_table().to_pylist()


def test_a_corpus_with_its_own_attributes_gets_edits_examples_and_conversations(garden: None, tmp_path: Path) -> None:
    assert {"season", "pose"} <= set(attribute_names()) and set(planners()["exemplar_learning"].choices["kinds"]) >= {
        "season"
    }
    for task in TASKS:
        check_planner(planners()[task], {})
    samples: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for part in planned(tmp_path):
        samples.setdefault((part["task"], part["sample_id"]), []).append(part)
    said = {task: [] for task in TASKS}
    for (task, _), parts in samples.items():
        relation = json.loads(parts[0]["meta"])["relation"]
        said[task].append((relation, " ".join(part["text"] or "" for part in parts)))
        media = [json.loads(part["attributes"]) for part in parts if part["attributes"]]
        shown = media if task == "multi_turn" else media[-2:]
        for before, after in pairwise(shown):
            changed = [name for name in ("season", "pose") if before[name] != after[name]]
            assert len(changed) == 1 and before["concept"] == after["concept"]
            if task != "multi_turn":
                assert relation == f"{changed[0]}:{before[changed[0]]}>{after[changed[0]]}"
    edits = said["image_editing"]
    assert any(
        relation == "season:spring>winter" and "the season" in text and "winter" in text for relation, text in edits
    )
    assert any(relation == "pose:standing>lying" and "lie down" in text for relation, text in edits)
    assert not any(relation.endswith(">standing") for relation, _ in edits)  # there is no word for it
    shown = {relation for relation, _ in said["exemplar_learning"]}
    assert {"season:winter>summer", "pose:lying>standing"} <= shown and "pose:lying>sitting" not in shown
    assert {relation for relation, _ in said["multi_turn"]} <= {"season pose", "pose season"}
    assert any("Now it should sit." in text and "season" in text for _, text in said["multi_turn"])


def test_attributes_that_cannot_be_told_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="attribute 'Skin tone': a name has small letters"):
        Attribute(name="Skin tone", same=("concept",))
    for name, message in (("tone", "corpus zoo: another corpus declares attribute 'tone' differently"),
                          ("caption", "attribute 'caption' of a corpus has the name of a column of assets")):  # fmt: skip
        zoo = SimpleNamespace(name="zoo", attributes=(Attribute(name=name, same=("concept",)),))
        monkeypatch.setitem(corpora(), "zoo", zoo)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=message):
            attribute_names()
