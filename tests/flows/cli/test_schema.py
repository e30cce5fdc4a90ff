"""The JSON Schemas by which editors complete recipes and training configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from codi2_datasets.recipe_schema import Recipe
from codi2_model.training.config import TrainConfig
from codi2_storage.typed_data import json_schema

ROOT = Path(__file__).parents[3]
SCHEMAS = {"recipe": (Recipe, "datasets/recipes"), "train": (TrainConfig, "codi2_model/presets")}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_schema_in_the_documentation_is_that_of_the_code_and_shipped_files_name_it(kind: str) -> None:
    described, folder = SCHEMAS[kind]
    file = ROOT / "docs" / "schemas" / f"{kind}.json"
    assert file.read_text() == json_schema(described), f"run codi2 schema {kind} > {file.relative_to(ROOT)}"
    for shipped in sorted((ROOT / folder).glob("*.yaml")):
        [name] = [line.partition("$schema=")[2] for line in shipped.read_text().splitlines()[:1]]
        assert (shipped.parent / name).resolve() == file
