"""Recipes are checked whole before any work starts, and errors name the file and the key."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from codi2_datasets.build import build_id
from codi2_datasets.formats.hashing import canonical
from codi2_datasets.recipe import load_recipe, recipe_of_spec
from codi2_datasets.recipe_schema import RecipeError

GOOD = {
    "name": "small",
    "seed": 1,
    "corpora": [{"name": "emoji-noto"}],
    "tasks": {"text_to_image": {"train": 10}},
}


def write(folder: Path, changes: dict) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}))
    return path


def test_a_good_recipe_is_read(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, {}))
    assert recipe.tasks["text_to_image"].train == 10 and recipe.image.size == 64


def test_settings_override_those_of_the_file_and_so_the_build_is_another(tmp_path: Path) -> None:
    path = write(tmp_path, {})
    recipe = load_recipe(path, ["tasks.text_to_image.train=5", "image.size=32", "mixture.corpora={emoji-noto: 2}"])
    assert (recipe.tasks["text_to_image"].train, recipe.image.size) == (5, 32)
    assert recipe.mixture.corpora == {"emoji-noto": 2.0}
    assert build_id(recipe, [], None) != build_id(load_recipe(path), [], None)
    assert load_recipe(path, ["image.size=64"]).digest() == load_recipe(path).digest()  # as it is in the file
    for setting, message in (
        ("image.sise=8", "unknown key 'image.sise'.*did you mean size"), ("image.size=big", "image.size: expected int"),
        ("tasks.text_to_imag.train=1", "unknown task 'text_to_imag'"), ("corpora.limit=1", "not of the form"),
        ("seed", "not of the form"), ("seed=[", "not valid YAML"),
    ):  # fmt: skip
        with pytest.raises(RecipeError, match=message):
            load_recipe(path, [setting])


@pytest.mark.parametrize("name", [file.stem for file in Path("datasets/recipes").glob("*.yaml")])
def test_shipped_recipes_are_good(name: str) -> None:
    assert load_recipe(name).name == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, "unknown key 'colour'"),
        ({"image": {"sise": 64}}, "unknown key 'image.sise'; known: size"),
        ({"image": {"size": "big"}}, "image.size: expected int, found str 'big'"),
        ({"image": {"size": 4}}, "image.size: 4 is not between"),
        ({"audio": {"sample_rate": 8000}}, "audio.sample_rate: 8000, and the sample format knows 16000 Hz alone"),
        ({"seed": None}, "seed: expected int, found nothing"),
        ({"corpora": [{"name": "emoji-klingon"}]}, "unknown corpus 'emoji-klingon'"),
        ({"corpora": [{"name": "emoji-noto"}, {"name": "emoji-noto"}]}, "emoji-noto named twice"),
        ({"corpora": [{}]}, r"key 'corpora\[0\].name' is missing"),
        ({"tasks": {"cooking": {"train": 1}}}, "unknown task 'cooking'"),
        ({"tasks": {"text_to_image": {"train": -1}}}, "below zero"),
        ({"tasks": {"text_to_image": {"train": 1, "options": {"heat": 1}}}}, "unknown key 'heat'"),
        ({"splits": {"test_concepts": 3.0}}, "not between 0 and 0.5"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict, message: str) -> None:
    path = write(tmp_path, changes)
    with pytest.raises(RecipeError, match=message) as error:
        load_recipe(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("a: [1")
    with pytest.raises(RecipeError, match="not readable as YAML"):
        load_recipe(path)


def test_an_unknown_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(RecipeError, match=r"no recipe nope.*demo"):
        load_recipe("nope")


def test_the_digest_ignores_order_and_sees_every_number(tmp_path: Path) -> None:
    first = load_recipe(write(tmp_path, {})).digest()
    (tmp_path / "recipe.yaml").write_text("# said otherwise\n" + yaml.safe_dump(dict(reversed(GOOD.items()))))
    assert load_recipe(tmp_path / "recipe.yaml").digest() == first
    assert load_recipe(write(tmp_path, {"seed": 2})).digest() != first
    here, there = ({"decontaminate": [{"name": "held", "folder": folder}]} for folder in ("/one/held", "/two/held"))
    assert load_recipe(write(tmp_path, here)).digest() == load_recipe(write(tmp_path, there)).digest() != first


@pytest.mark.parametrize("name", ["demo", "full"])
@pytest.mark.parametrize("limit", [None, 20])
def test_a_recipe_comes_back_from_what_the_catalog_keeps_of_it(name: str, limit: int | None) -> None:
    recipe = load_recipe(name).limited(limit)
    again = recipe_of_spec(canonical(asdict(recipe)), "here")
    assert again == recipe and again.digest() == recipe.digest() and again.limited(limit) == recipe
    with pytest.raises(RecipeError, match="here: unknown key 'nope'"):
        recipe_of_spec('{"nope": 1}', "here")
