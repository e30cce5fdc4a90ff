"""Planners on small tables: what they ask is true, and nothing crosses splits."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from codi2_datasets.planning.tables import attribute_names
from codi2_datasets.recipe_schema import CorpusChoice, Mixture, Recipe, TaskChoice
from codi2_datasets.steps.plan import plan
from codi2_datasets.tasks import check_task, planners
from codi2_datasets.tasks.reasoning import HOURS
from tests.datasets.tasks.image_world import connect


def asset(n: int, modality: str, **attributes: Any) -> dict[str, Any]:
    split, holdout = ("test", "concept") if n % 5 == 0 else ("train", "")
    named = {name: attributes.get(name) for name in attribute_names()}
    head = {
        "asset_id": f"{modality}{n:03d}",
        "source_row_id": f"row-{modality}{n}",
        "corpus": "c",
        "modality": modality,
    }
    head |= {"licence": "MIT", "split": split, "holdout": holdout, "near": f"{modality}{n:03d}", "duration_s": 2.0}
    return head | named | {"caption": attributes["concept"], "attributes": json.dumps(attributes), "text": None}


def world() -> list[dict[str, Any]]:
    """Thirty things, each drawn in three styles, heard, and seen moving."""
    rows = []
    for n in range(30):
        thing = {"concept": f"thing {n}", "family": f"family {n}", "pair": f"pair {n}", "tone": 0}
        rows.append(asset(n, "image", **thing, style="ink"))
        for style in ("oil", "wax"):
            own = f"{style}{n:03d}"
            rows.append({**asset(n, "image", **thing, style=style), "asset_id": own, "near": own})
        rows.append(asset(n, "audio", **thing, kind="sound"))
        rows.append(asset(n, "video", **thing, kind="animation"))
    return rows


def planned(
    task: str,
    rows: list[dict[str, Any]],
    seed: int = 1,
    name: str = "test",
    mixture: Mixture | None = None,
    **options: Any,
) -> tuple[list[dict], list[dict]]:
    connection = connect(rows)
    tasks = {task: TaskChoice(60, 0, 12, options=options)}
    plan(connection, "b", Recipe(name, seed, (CorpusChoice("c"),), tasks, mixture=mixture or Mixture()))
    samples = connection.execute("select * from planned_samples").to_arrow_table().to_pylist()
    parts = connection.execute("select * from planned_parts order by sample_id, position").to_arrow_table().to_pylist()
    return samples, parts


NEW = ("text_to_video", "video_captioning", "audio_captioning", "concept_learning", "image_to_audio",
       "audio_to_image", "joint_image_audio", "visual_question_answering", "multi_turn")  # fmt: skip


@pytest.mark.parametrize("task", NEW)
def test_samples_show_media_of_their_own_split_alone(task: str) -> None:
    rows = world()
    split = {row["asset_id"]: row["split"] for row in rows}
    samples, parts = planned(task, rows)
    of = {sample["sample_id"]: sample["split"] for sample in samples}
    assert set(of.values()) == {"train", "test"}
    assert all(split[p["asset_id"]] == of[p["sample_id"]] for p in parts if p["asset_id"])
    assert {p["sample_id"] for p in parts if p["target"]} == set(of)


@pytest.mark.parametrize("task", sorted(planners()))
def test_a_task_whose_corpora_are_absent_has_no_samples(task: str) -> None:
    texts = [row for row in world() if row["modality"] == "none"]
    row = {**asset(1, "image", concept="x", tone=0), "caption": ""}
    assert planned(task, [*texts, row])[0] == []


def test_an_unknown_task_is_refused_with_the_nearest_known_one() -> None:
    check_task("image_editing")
    with pytest.raises(
        ValueError, match=r"unknown task 'image_edit'; did you mean image_editing\? There are audio_captioning, "
    ):
        check_task("image_edit")


def test_sounds_are_paired_with_the_picture_of_the_same_thing() -> None:
    _, parts = planned("image_to_audio", world())
    pairs: dict[str, set[str]] = {}
    for part in parts:
        if part["asset_id"]:
            pairs.setdefault(part["sample_id"], set()).add(part["asset_id"][-3:])
    assert pairs and all(len(numbers) == 1 for numbers in pairs.values())


def test_one_reply_holds_picture_and_sound() -> None:
    samples, parts = planned("joint_image_audio", world())
    for sample in samples:
        targets = [
            p["modality"] for p in parts if p["sample_id"] == sample["sample_id"] and p["target"] and p["asset_id"]
        ]
        assert sorted(targets) == ["audio", "image"]


def test_references_of_a_style_show_other_families() -> None:
    samples, parts = planned("concept_learning", world())
    for sample in samples:
        shown = [p["asset_id"] for p in parts if p["sample_id"] == sample["sample_id"] and p["asset_id"]]
        assert len({name[-3:] for name in shown}) == len(shown) and len({name[:3] for name in shown}) == 1


def test_captions_of_sounds_come_with_examples_and_without() -> None:
    samples, _ = planned("audio_captioning", world())
    assert {sample["n_demos"] for sample in samples} >= {0, 1, 2, 3}


def test_a_changed_row_moves_only_the_samples_that_showed_it_or_now_do() -> None:
    rows = world()
    _, before = planned("audio_captioning", rows)
    changed = [
        {**row, "asset_id": "audio9xx", "near": "audio9xx"} if row["asset_id"] == "audio007" else row for row in rows
    ]
    _, after = planned("audio_captioning", changed)
    old, new = {p["sample_id"] for p in before}, {p["sample_id"] for p in after}
    touched = {p["sample_id"] for p in before if p["asset_id"] == "audio007"}
    assert touched <= old - new
    assert len(old - new) <= 3 * len(touched) + 4


def test_yes_and_no_are_what_the_pictures_say() -> None:
    samples, parts = planned("visual_question_answering", world())
    seen = set()
    for sample in (s for s in samples if s["template"].startswith("same_thing")):
        mine = [p for p in parts if p["sample_id"] == sample["sample_id"]]
        shown = [p["asset_id"][-3:] for p in mine if p["asset_id"]]
        answer = next(p["text"] for p in mine if p["target"])
        assert answer == ("Yes." if shown[0] == shown[1] else "No.")
        seen.add(answer)
    assert seen == {"Yes.", "No."}


def clock_world() -> list[dict[str, Any]]:
    names = [f"{hour}{half}" for hour in HOURS for half in (" o’clock", "-thirty")]
    faces = [asset(1 + 5 * n, "image", concept=name, family=name, style="ink", tone=0) for n, name in enumerate(names)]
    return [{**face, "group": "travel-places"} for face in faces]


def test_the_clock_goes_on_by_the_same_step() -> None:
    samples, parts = planned("reasoning", clock_world())
    assert len(samples) == 60
    for sample in samples:
        n = [
            (int(p["asset_id"][5:]) - 1) // 5 for p in parts if p["sample_id"] == sample["sample_id"] and p["asset_id"]
        ]
        steps = {(b - a) % 24 for a, b in pairwise(n)}
        assert len(n) == 4 and len(steps) == 1


def test_the_odd_one_out_is_the_target_and_of_another_group() -> None:
    groups = ("animals-nature", "food-drink", "flags")
    rows = [{**asset(1 + 5 * n, "image", concept=f"c{n}", family=f"f{n}", style="ink", tone=0), "group": groups[n % 3]}
            for n in range(60)]  # fmt: skip
    group = {row["asset_id"]: row["group"] for row in rows}
    samples, parts = planned("reasoning", rows)
    assert samples
    for sample in samples:
        mine = [p for p in parts if p["sample_id"] == sample["sample_id"] and p["asset_id"]]
        shown = [group[p["asset_id"]] for p in mine if not p["target"]]
        target = next(p for p in mine if p["target"])
        assert len(shown) == 4 and shown.count(group[target["asset_id"]]) == 1 and len(set(shown)) == 2


# --- words -------------------------------------------------------------------------------------------------------


def text(n: int, kind: str, said: list[str], **attributes: Any) -> dict[str, Any]:
    row = asset(n, "text", concept=said[0], family=said[0], kind=kind, **attributes)
    return {**row, "asset_id": f"{kind}{n:03d}", "near": f"{kind}{n:03d}", "text": json.dumps(said), "caption": ""}


def lexicon() -> list[dict[str, Any]]:
    """Sixty nouns of two classes with their meanings, and a hundred summaries of five topics."""
    classes = ("noun.animal", "noun.food")
    words = [
        text(n, "definition", [f"noun{n}", f"what noun{n} means"], lexname=classes[n % 2], hypernym=f"wider{n}",
             antonym=f"counter{n}", tagged=2)
        for n in range(60)
    ]  # fmt: skip
    things = [
        text(n, "summary", [f"Thing {n}", f"Thing {n} is a thing that somebody somewhere made. More."],
             topic=f"topic{n % 5}", description=f"thing number {n}")
        for n in range(100)
    ]  # fmt: skip
    return words + things


def told(parts: list[dict], sample: dict) -> dict[str, list[str]]:
    mine = [part for part in parts if part["sample_id"] == sample["sample_id"]]
    return {
        role: [p["text"] for p in mine if p["icl_role"] == role]
        for role in ("demo_input", "demo_output", "query", "target")
    }


def test_examples_in_words_say_what_the_query_wants() -> None:
    samples, parts = planned("text_icl", lexicon())
    kinds = {sample["template"].split("/")[0] for sample in samples}
    assert kinds == {"meaning", "word", "wider", "opposite", "topic", "description", "label"}
    for sample in samples:
        said, kind = told(parts, sample), sample["template"].split("/")[0]
        assert len(said["demo_input"]) == len(said["demo_output"]) == sample["n_demos"] >= 1
        assert not set(said["query"]) & set(said["demo_input"])
        if kind == "wider":
            pairs = zip(said["demo_input"] + said["query"], said["demo_output"] + said["target"][-1:], strict=True)
            assert all(wider == word.replace("noun", "wider") for word, wider in pairs)


def test_labels_mean_what_the_examples_make_them_mean() -> None:
    samples, parts = planned("text_icl", lexicon())
    seen = 0
    for sample in (s for s in samples if s["template"].startswith("label")):
        said = told(parts, sample)
        classes = {label: {int(word[4:]) % 2 for word, at in zip(said["demo_input"], said["demo_output"], strict=True) if at == label}
                   for label in set(said["demo_output"])}  # fmt: skip
        target = next(text for text in said["target"] if text in classes)
        assert len(classes) == 2 and all(len(members) == 1 for members in classes.values())
        assert classes[target] == {int(said["query"][0][4:]) % 2}
        seen += 1
    assert seen


def test_words_give_way_to_pictures_of_them_and_the_rest_stays() -> None:
    rows = [{**asset(1 + 5 * n, "image", concept=word, family=word, style="ink", tone=0), "group": "animals-nature",
             "attributes": json.dumps({"subgroup": "animal-mammal"})} for n, word in enumerate(("dog", "cat", "horse"))]  # fmt: skip
    said = ("I saw a dog, and then a cat.", "The horse is very old.", "The dog house is new.", "A dog or another dog too.",
            "The dogs saw a dog.")  # fmt: skip
    texts = [text(1 + 5 * n, "dialogue", [line, "ok"]) for n, line in enumerate(said)]
    names = {row["asset_id"]: row["concept"] for row in rows}
    samples, parts = planned("text_to_media", rows + texts)
    rebuilt = set()
    for sample in samples:
        mine = [p for p in parts if p["sample_id"] == sample["sample_id"] and p["target"]]
        line = "".join(f"<{names[p['asset_id']]}>" if p["modality"] == "image" else p["text"] for p in mine)
        rebuilt.add(line.removeprefix("Here it is: "))
    assert rebuilt == {"I saw a <dog>, and then a <cat>.", "The <horse> is very old.", "A <dog> or another <dog> too."}


def test_an_effect_in_examples_is_the_effect_asked_for() -> None:
    connection_samples, parts = planned("audio_editing", world())
    assert {sample["n_demos"] for sample in connection_samples} >= {0, 1, 2, 3}
    for sample in connection_samples:
        mine = [p for p in parts if p["sample_id"] == sample["sample_id"] and p["asset_id"]]
        shown = {p["asset_id"] for p in mine if p["icl_role"].startswith("demo")}
        asked = {p["asset_id"] for p in mine if not p["icl_role"].startswith("demo")}
        assert not shown & asked and len(mine) == 2 * sample["n_demos"] + 2


def test_captions_of_a_language_are_asked_for_in_that_language() -> None:
    rows = [{**row, "attributes": json.dumps({"captions": {"de": f"Ding {n}", "fr": f"chose {n}"}})}
            for n, row in enumerate(world()) if row["modality"] == "image"]  # fmt: skip
    samples, parts = planned("image_captioning", rows, languages=["de", "fr"])
    assert {sample["language"] for sample in samples} == {"en", "de", "fr"}
    for sample in samples:
        answer = "".join(told(parts, sample)["target"])
        start = {"de": "Ding", "fr": "chose"}.get(sample["language"])
        assert start is None or answer.startswith(start)


@pytest.mark.parametrize("task", ["text_to_audio", "text_to_image", "multi_turn", "audio_editing"])
def test_names_of_any_letters_break_no_sql(task: str) -> None:
    """Recipes, corpora, licences, languages, captions and styles are values, never SQL and never marks of a template."""
    odd = 'it\'s "mine"; %d {style} [query]'
    weights = {odd: 2.0, "c": 1.0}
    rows = [{**row, "corpus": odd, "licence": odd, "caption": f"{odd} {n}"} for n, row in enumerate(world())]
    mixture = Mixture(corpora=weights, licences=weights, languages=weights)
    samples, parts = planned(task, rows, name=odd, mixture=mixture)
    said = [part["text"] for part in parts if part["text"] and "it's" in part["text"]]
    assert samples and said and all(odd in text for text in said)
