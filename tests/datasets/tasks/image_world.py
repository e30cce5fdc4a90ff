"""A small world of drawings, and the candidates and samples that planners make of it."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pyarrow as pa

from codi2_datasets.corpora import attributes
from codi2_datasets.planning.edit_pairs import make_relations
from codi2_datasets.planning.tables import OF_SELECT, attribute_names, create_tables
from codi2_datasets.recipe_schema import CorpusChoice, Recipe, TaskChoice
from codi2_datasets.steps.plan import plan
from codi2_datasets.steps.plan_task import make_fusable
from codi2_datasets.tasks import planners
from codi2_storage.build_cache import BuildCache

STYLES = ("Noto", "Twemoji", "OpenMoji black")
TASKS = ("composition", "concept_learning", "multi_turn", "reasoning", "visual_question_answering")
ANIMALS = ("dog", "cat", "horse", "pig", "cow", "lion", "tiger", "sheep", "frog", "owl", "crab", "ant")
FRUIT = ("banana", "cherries", "grapes", "kiwi fruit", "lemon", "lime", "mango", "olive", "peach", "pear")
FLAGS = tuple(f"flag: {name}" for name in ("Chile", "Cuba", "Fiji", "Iran", "Iraq", "Italy", "Japan", "Kenya"))
VEHICLES = ("bus", "taxi", "tram", "train", "ship", "canoe", "bicycle", "rocket")
SCENES = ("desert", "sunset", "foggy", "sunrise")


def drawing(hexcode: str, concept: str, group: str, subgroup: str, style: str, **more: Any) -> dict[str, Any]:
    attributes = {"hexcode": hexcode, "concept": concept, "base_concept": concept, "family": concept, "style": style}
    attributes |= {"group": group, "subgroup": subgroup, "tone": 0, "gender": "", "direction": ""} | more
    return row(f"{style}/{concept}", "image", **attributes)


def row(name: str, modality: str, **attributes: Any) -> dict[str, Any]:
    """A row of `selected`; one family in nine is held out whole, one drawing in eleven as a combination."""
    split, holdout = "train", ""
    if share(attributes["family"]) % 9 == 0:
        split, holdout = "test", "concept"
    elif modality == "image" and share(name) % 11 == 0:
        split, holdout = "test", "combination"
    head = {"asset_id": name, "source_row_id": f"row {name}", "corpus": "c", "modality": modality, "licence": "MIT"}
    head |= {"split": split, "holdout": holdout, "near": name, "caption": attributes["concept"], "text": None}
    return head | {key: attributes.get(key) for key in attribute_names()} | {"attributes": json.dumps(attributes)}


def share(text: str) -> int:
    return sum(ord(letter) * place for place, letter in enumerate(text, 1))


def people(style: str) -> list[dict[str, Any]]:
    rows = []
    for code, who in (("1f468", "man"), ("1f469", "woman"), ("1f9d1", "person")):
        known = {"gender": who, "family": "person"}
        rows.append(drawing(code, who, "people-body", "person", style, **known))
        for number, job in (("1f680", "astronaut"), ("1f33e", "farmer"), ("1f3a4", "singer")):
            named = {"gender": who, "family": job}
            rows.append(drawing(f"{code}-{number}", f"{who} {job}", "people-body", "person-role", style, **named))
    for tone, name in ((0, ""), (1, ": light skin tone"), (5, ": dark skin tone")):
        for who, sign in (("person", ""), ("woman", "-2640"), ("man", "-2642")):
            for facing, end in (("", ""), ("right", "-27a1")):
                code = f"1f3c3{'-1f3fb' * (tone == 1) + '-1f3ff' * (tone == 5)}{sign}{end}"
                base = f"{who} running{': facing right' * bool(facing)}"
                known = {"gender": who, "family": "person running", "direction": facing, "tone": tone}
                words = f"{base}{name}"
                rows.append(drawing(code, words, "people-body", "person-activity", style, **known, base_concept=base))
    return rows


def world() -> list[dict[str, Any]]:
    """People at work and running, things of several kinds, scenes, clocks, numbers, sounds and clips."""
    rows = []
    for style in STYLES:
        rows += people(style)
        rows += [
            drawing(code, name, "symbols", "gender", style)
            for code, name in (
                ("2640", "female sign"),
                ("2642", "male sign"),
                ("27a1", "right arrow"),
                ("1f3fb", "light skin tone"),
            )
        ]
        rows += [
            drawing("1f33e", "sheaf of rice", "animals-nature", "plant-other", style),
            drawing("1f3a4", "microphone", "objects", "music", style),
        ]
        for names, group, subgroup in (
            (ANIMALS, "animals-nature", "animal-mammal"), (FRUIT, "food-drink", "food-fruit"),
            (FLAGS, "flags", "country-flag"), (VEHICLES, "travel-places", "transport-ground"),
            (SCENES, "travel-places", "place-other"),
        ):  # fmt: skip
            rows += [drawing("1f680" if n == "rocket" else n.encode().hex(), n, group, subgroup, style) for n in names]
        rows += [drawing(f"003{n}-20e3", f"keycap: {n}", "symbols", "keycap", style) for n in range(10)]
    for n in range(12):
        rows.append(row(f"sound {n}", "audio", concept=f"noise {n}", family=f"noise {n}", kind="sound"))
        rows.append(row(f"clip {n}", "video", concept=f"thing {n}", family=f"thing {n}", kind="animation"))
    exact = {"scene": "meadow", "family": "meadow", "concept": "meadow", "kind": "scene"}
    rows.append(row("meadow", "image", **exact))
    rows.append(row("meadow tree", "image", **exact | {"kind": "overlay", "concept": "tree", "family": "tree"}))
    return rows


WORLD = world()
ASSETS = {row["asset_id"]: row | json.loads(row["attributes"]) | {"split": row["split"]} for row in WORLD}
ALL = {"multi_turn": {"kinds": ["edits", "scenes", "sounds", "recall"]}}


def connect(rows: list[dict[str, Any]]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.register("world", pa.Table.from_pylist(rows))
    create_tables(connection, *OF_SELECT)
    connection.execute("insert into selected by name select * from world")
    return connection


def rows_of(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    return connection.execute(query).to_arrow_table().to_pylist()


def plan_tables(
    rows: list[dict[str, Any]], recipe: Recipe, cache: BuildCache | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The tables that planning these rows leaves."""
    connection = connect(rows)
    plan(connection, "b", recipe, cache)
    columns = {"ledger": "* exclude (seconds)"}
    tables = ("planned_samples", "planned_parts", "derived", "rejected", "ledger")
    return {name: rows_of(connection, f"select {columns.get(name, '*')} from {name} order by all") for name in tables}


_CANDIDATES: dict[str, list[dict[str, Any]]] = {}


def candidates(task: str, rows: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """What the planner yields for these rows, or for the world."""
    if rows is None and task in _CANDIDATES:
        return _CANDIDATES[task]
    connection = connect(rows or WORLD)
    make_relations(connection)
    make_fusable(connection)
    planner = planners()[task]
    found = rows_of(connection, planner.sql({**planner.options, **ALL.get(task, {})}))
    if rows is None:
        _CANDIDATES[task] = found
    return found


def of_kind(task: str, *kinds: str) -> list[dict[str, Any]]:
    found = [c for c in candidates(task) if c["kind"] in kinds]
    assert found, f"{task} has no {kinds}"
    return found


def params(derived: dict[str, Any]) -> dict[str, Any]:
    return json.loads(derived["params"])


def look(style: str) -> str:
    return attributes()["style"].groups.get(style, style)


def planned(task: str) -> tuple[list[dict], list[dict], list[dict]]:
    connection = connect(WORLD)
    choice = TaskChoice(400, 0, 80, options=ALL.get(task, {}))
    plan(connection, "b", Recipe("test", 1, (CorpusChoice("c"),), {task: choice}))
    assert not rows_of(connection, "select * from rejected")
    parts = rows_of(connection, "select * from planned_parts order by sample_id, position")
    return rows_of(connection, "select * from planned_samples"), parts, rows_of(connection, "select * from derived")


# --- of all of them ----------------------------------------------------------------------------------------------
