"""Planners for pictures on a small world of drawings: what they ask has one answer, and it is the one they give."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codi2_datasets.planning.split_rules import joint_split
from codi2_datasets.tasks import planners
from codi2_datasets.transforms import transforms
from codi2_datasets.vocabulary.scene_layout import PLACES
from tests.datasets.tasks.image_world import ASSETS, SCENES, TASKS, WORLD, candidates, look, of_kind, params, planned


@pytest.mark.parametrize("task", TASKS)
def test_keys_are_unique_and_every_kind_has_phrasings(task: str) -> None:
    found = candidates(task)
    kinds = Counter(template.kind for template in planners()[task].templates)
    assert max(Counter(c["key"] for c in found).values()) == 1
    assert {c["kind"] for c in found} <= set(kinds) and min(kinds.values()) >= 3
    assert all(c["balance"] and c["split"] in ("train", "validation", "test") for c in found)


@pytest.mark.parametrize("task", TASKS)
def test_nothing_held_out_is_seen_in_training_and_no_target_in_a_test_was(task: str) -> None:
    samples, parts, derived = planned(task)
    made = {d["asset_id"]: d["inputs"] for d in derived}
    assert {s["split"] for s in samples} == {"train", "test"}
    splits = {s["sample_id"]: (s["split"], s["holdout"]) for s in samples}
    for part in (p for p in parts if p["asset_id"]):
        split, holdout = splits[part["sample_id"]]
        shown = [ASSETS[name] for name in made.get(part["asset_id"], [part["asset_id"]])]
        own = {asset["split"] for asset in shown}
        assert own <= {"train", split}
        assert split == "train" or not (part["target"] or part["icl_role"] == "demo_output") or split in own
        assert holdout != "concept" or all(asset["holdout"] == "concept" for asset in shown)


@pytest.mark.parametrize("task", TASKS)
def test_every_word_is_filled_in_and_every_turn_says_something(task: str) -> None:
    samples, parts, _ = planned(task)
    assert not [p["text"] for p in parts if p["text"] and ("{" in p["text"] or "[" in p["text"])]
    turns = {(p["sample_id"], p["turn"]) for p in parts}
    for sample in samples:
        last = max(turn for name, turn in turns if name == sample["sample_id"])
        assert all((sample["sample_id"], turn) in turns for turn in range(last + 1)) and last % 2 == 1


@pytest.mark.parametrize("task", TASKS)
def test_what_is_to_be_made_can_be_made_from_media_of_its_kind(task: str) -> None:
    known = transforms()
    wanted = {"mix": {"audio"}, "frame": {"video"}}
    for candidate in candidates(task):
        for derived in (value for name, value in candidate.items() if name.startswith("derive_") and value):
            assert {ASSETS[name]["modality"] for name in derived["inputs"]} == wanted.get(derived["op"], {"image"})
            assert derived["op"] in known and isinstance(params(derived), dict)


@pytest.mark.parametrize("task", TASKS)
def test_a_changed_row_moves_only_the_candidates_beside_it(task: str) -> None:
    changed = "Noto/lion"
    rows = [{**r, "asset_id": "new", "near": "new"} if r["asset_id"] == changed else r for r in WORLD]
    before, after = (
        {json.dumps(c, sort_keys=True) for c in found} for found in (candidates(task), candidates(task, rows))
    )
    gone = before - after
    assert gone and sum(changed not in text for text in gone) <= max(12, len(before) // 50)


@pytest.mark.parametrize("task", TASKS)
def test_a_world_without_drawings_yields_nothing(task: str) -> None:
    assert candidates(task, [r for r in WORLD if r["modality"] == "text" or r["asset_id"] == "sound 1"]) == []


names = st.sampled_from(["train", "validation", "test"])
medium = names.flatmap(
    lambda split: st.tuples(
        st.just(split), st.just("") if split == "train" else st.sampled_from(["concept", "combination"])
    )
)


@given(st.lists(medium, min_size=1, max_size=4), st.booleans())
def test_the_rule_for_joined_media_is_as_told(media: list[tuple[str, str]], target: bool) -> None:
    aliases = [f"m{n}" for n in range(len(media))]
    split, holdout = joint_split(aliases, targets=aliases[:1] if target else ())
    tables = ", ".join(f"(select '{s}' as split, '{h}' as holdout) m{n}" for n, (s, h) in enumerate(media))
    got = duckdb.sql(f"select {split}, {holdout} from {tables}").fetchone()
    held_out = {s for s, _ in media} - {"train"}
    allowed = not held_out or (len(held_out) == 1 and (not target or media[0][0] != "train"))
    expected = "train" if not held_out else min(held_out) if allowed else None
    assert got is not None and got[0] == expected
    if allowed:
        concept = all(h == "concept" for _, h in media)
        assert got[1] == ("" if not held_out else "concept" if concept else "combination")


# --- composition -------------------------------------------------------------------------------------------------


def test_a_sum_is_what_its_parts_spell_in_the_same_style() -> None:
    for c in of_kind("composition", "sum", "named"):
        a, b, t = (ASSETS[c[f"slot_{name}"]] for name in ("query", "b", "target")) if c["slot_target"] else (
            ASSETS[c["slot_query"]], ASSETS[c["slot_b"]], None)  # fmt: skip
        whole = f"{a['hexcode']}-{b['hexcode']}"
        expected = next(x for x in ASSETS.values() if x.get("hexcode") == whole and x["style"] == a["style"])
        assert b["style"] == a["style"]
        assert t is expected if t else c["word_caption"] == expected["concept"]


def test_examples_of_a_sum_add_the_same_to_others() -> None:
    samples, parts, _ = planned("composition")
    shown = {s["sample_id"] for s in samples if s["n_demos"]}
    assert shown
    for name in shown:
        mine = [p for p in parts if p["sample_id"] == name and p["asset_id"]]
        inputs = [ASSETS[p["asset_id"]] for p in mine if p["icl_role"] == "query"]
        added = next(asset for asset in inputs if asset["group"] != "people-body")
        demos = [ASSETS[p["asset_id"]] for p in mine if (p["icl_role"] or "").startswith("demo")]
        target = next(p["asset_id"] for p in mine if p["target"])
        assert all(
            out["hexcode"] == f"{into['hexcode']}-{added['hexcode']}"
            for into, out in zip(demos[::2], demos[1::2], strict=True)
        )
        assert target not in {demo["asset_id"] for demo in demos}
        bases = [into["concept"] for into in demos[::2]]
        assert len(set(bases)) == len(bases)


def test_a_thing_is_placed_where_the_words_say() -> None:
    for c in of_kind("composition", "placed", "said"):
        how = params(c["derive_made"])
        assert (how["x"][0], how["y"][0]) == PLACES[c["word_place"]]
        assert c["derive_made"]["inputs"] == [c["slot_scene"], c["slot_thing"]]
        assert ASSETS[c["slot_scene"]]["concept"] in SCENES
        assert ASSETS[c["slot_scene"]]["style"] == ASSETS[c["slot_thing"]]["style"]
        assert c["word_caption"] == ASSETS[c["slot_thing"]]["concept"]


def test_of_two_things_the_first_goes_left() -> None:
    for c in of_kind("composition", "two"):
        how = params(c["derive_made"])
        assert c["derive_made"]["inputs"] == [c["slot_scene"], c["slot_thing"], c["slot_other"]]
        assert how["x"][0] < how["x"][1]


def test_what_was_drawn_for_a_scene_goes_there_whole() -> None:
    found = of_kind("composition", "whole")
    assert [(c["slot_scene"], c["slot_thing"], params(c["derive_made"])) for c in found] == [
        ("meadow", "meadow tree", {"whole": True})
    ]


def test_a_style_is_taken_from_a_picture_of_something_else() -> None:
    for c in of_kind("composition", "styled"):
        subject, ref, target = (ASSETS[c[f"slot_{name}"]] for name in ("query", "ref", "target"))
        assert target["concept"] == subject["concept"] != ref["concept"] and target["style"] == ref["style"]
        assert look(subject["style"]) != look(target["style"]) and ref["group"] not in ("flags", "symbols")


# --- reasoning ---------------------------------------------------------------------------------------------------


def test_numbers_go_on_by_the_same_step() -> None:
    for c in of_kind("reasoning", "next"):
        n = [int(ASSETS[c[f"slot_{name}"]]["concept"].split()[-1]) for name in ("a", "b", "c", "target")]
        assert len({b - a for a, b in pairwise(n)}) == 1


def test_a_series_goes_on_by_the_same_step() -> None:
    seen = set()
    for c in of_kind("reasoning", "series"):
        four = [c[f"derive_{name}"] for name in ("p", "q", "r", "made")]
        measures = [measure(params(derived)) for derived in four]
        assert len({round(b - a, 6) for a, b in pairwise(measures)}) == 1 and measures[0] != measures[1]
        assert len({(derived["op"], *derived["inputs"]) for derived in four}) == 1
        seen.add(four[0]["op"])
    assert seen == {"grid", "rotate", "resize", "frame"}


def measure(how: dict[str, Any]) -> float:
    return how["cells"].count(0) if "cells" in how else next(iter(how.values()))


def test_sums_add_up() -> None:
    for c in of_kind("reasoning", "sum", "rest"):
        p, q, made = (measure(params(c[f"derive_{name}"])) for name in ("p", "q", "made"))
        assert made == (p + q if c["kind"] == "sum" else p - q) and 1 <= made <= 9


def kind_of(asset: dict[str, Any]) -> str:
    return asset["subgroup"].partition("-")[0] if asset["subgroup"] != "country-flag" else "flag"


def test_one_and_only_one_is_odd() -> None:
    for c in of_kind("reasoning", "odd", "hand"):
        shown = [ASSETS[c[f"slot_{name}"]] for name in "abcd"]
        of = kind_of if c["kind"] == "odd" else lambda asset: look(asset["style"])
        odd = [asset for asset in shown if [of(other) for other in shown].count(of(asset)) == 1]
        assert [asset["asset_id"] for asset in odd] == [c["slot_target"]]
        assert len({asset["family"] for asset in shown}) == 4
        assert shown[["first", "second", "third", "fourth"].index(c["word_nth"])] is odd[0]


def test_an_analogy_does_to_the_third_what_was_done_to_the_first() -> None:
    for c in of_kind("reasoning", "analogy"):
        a, b, third, target = (ASSETS[c[f"slot_{name}"]] for name in ("a", "b", "c", "target"))
        told = ("style", "tone", "gender", "direction")
        changed = [name for name in told if a[name] != b[name]]
        assert [(third[name], target[name]) for name in changed] == [(a[name], b[name]) for name in changed]
        assert third["family"] == target["family"] != a["family"]


# --- questions ---------------------------------------------------------------------------------------------------


def test_answers_say_what_the_record_says() -> None:
    words = {"animal": "an animal", "food": "food", "flag": "a flag", "transport": "a vehicle"}
    vqa = "visual_question_answering"
    for c in of_kind(vqa, "kind"):
        options = [c[f"word_{name}"] for name in ("first", "second", "third")]
        assert c["word_answer"] == words[kind_of(ASSETS[c["slot_query"]])] and len(set(options)) == 3
        assert options.count(c["word_answer"]) == 1
    for c in of_kind(vqa, "style", "tone", "gender"):
        asset = ASSETS[c["slot_query"]]
        tones = {1: "light", 5: "dark"}
        assert c["word_answer"] in (asset["style"], tones.get(asset["tone"]), asset["gender"])
    for c in of_kind(vqa, "direction"):
        assert c["word_answer"] == (ASSETS[c["slot_query"]]["direction"] or "left")
    for c in of_kind(vqa, "colour"):
        assert (c["word_answer"] == "in colour") == (ASSETS[c["slot_query"]]["style"] != "OpenMoji black")


def test_yes_is_true_and_no_is_not() -> None:
    answers: dict[str, Counter] = {"is_it": Counter(), "same_thing": Counter(), "same_style": Counter()}
    for c in of_kind("visual_question_answering", *answers):
        query, other = ASSETS[c["slot_query"]], ASSETS.get(c["slot_other"])
        if c["kind"] == "is_it":
            truth = c["word_asked"] == query["concept"]
        elif c["kind"] == "same_thing":
            truth = query["concept"] == other["concept"]
            assert query["style"] != other["style"]
        else:
            truth = look(query["style"]) == look(other["style"])
            assert query["family"] != other["family"]
        assert c["word_answer"] == ("Yes." if truth else "No.")
        answers[c["kind"]][c["word_answer"]] += 1
    assert all(0.5 <= count["Yes."] / count["No."] <= 2 for count in answers.values())


def test_the_picture_that_was_asked_for_is_first_or_second() -> None:
    seen = Counter()
    for c in of_kind("visual_question_answering", "which"):
        two = [ASSETS[c["slot_query"]]["concept"], ASSETS[c["slot_other"]]["concept"]]
        assert two.index(c["word_asked"]) == ["first", "second"].index(c["word_answer"])
        seen[c["word_answer"]] += 1
    assert min(seen.values()) > sum(seen.values()) / 4


def test_things_are_counted_right() -> None:
    seen: dict[str, set[str]] = {"count": set(), "more": set()}
    for c in of_kind("visual_question_answering", "count", "more"):
        inputs, cells = c["derive_sheet"]["inputs"], params(c["derive_sheet"])["cells"]
        if c["kind"] == "count":
            assert c["word_answer"] == str(cells.count(inputs.index(c["slot_thing"])))
        else:
            first, second = (cells.count(inputs.index(c[f"slot_{name}"])) for name in ("thing", "rival"))
            assert c["word_answer"] == ("first" if first > second else "second") and first != second
        seen[c["kind"]].add(c["word_answer"])
    assert len(seen["count"]) >= 5 and seen["more"] == {"first", "second"}


def test_where_a_thing_is_said_to_be_it_was_put() -> None:
    for c in of_kind("visual_question_answering", "where"):
        how = params(c["derive_made"])
        assert (how["x"][0], how["y"][0]) == PLACES[c["word_answer"]]
        assert c["derive_made"]["inputs"][1] == c["slot_thing"]


# --- styles and conversations ------------------------------------------------------------------------------------


def test_works_of_a_style_show_as_many_families_as_there_are_works() -> None:
    numbers = set()
    for c in of_kind("concept_learning", "2", "3", "4"):
        shown = [ASSETS[c["slot_target"]]] + [ASSETS[c[f"slot_ref{n}"]] for n in range(1, int(c["kind"]) + 1)]
        assert len({asset["family"] for asset in shown}) == len(shown) and len({asset["style"] for asset in shown}) == 1
        assert not {"flags", "symbols"} & {asset["group"] for asset in shown}
        numbers.add(c["kind"])
    assert numbers == {"2", "3", "4"}


EDITS = [f"{start}{n}{asked}" for start in ("drawn", "shown") for n in (2, 3) for asked in ("", " asked")]


def test_every_step_changes_what_was_asked_for_and_nothing_else() -> None:
    tones = {0: "yellow", 1: "light", 5: "dark"}
    for c in of_kind("multi_turn", *EDITS):
        steps = [ASSETS[c[f"slot_step{n}"]] for n in range(4) if c[f"slot_step{n}"]]
        assert len(steps) == 3 + ("3" in c["kind"]) and len({asset["asset_id"] for asset in steps}) == len(steps)
        for n, (a, b) in enumerate(pairwise(steps), 1):
            changed = [name for name in ("style", "tone", "gender", "direction") if a[name] != b[name]]
            assert len(changed) == 1 and a["family"] == b["family"]
            new = {"tone": tones.get(b["tone"]), "direction": b["direction"] or "left"}.get(changed[0], b[changed[0]])
            assert new in c[f"word_ask{n}"]
        assert c["word_reply"] in (steps[1]["concept"], steps[1]["style"])


def test_a_thing_taken_away_leaves_the_scene_with_the_other_alone() -> None:
    for c in of_kind("multi_turn", "scenes"):
        one, two, rest = (c[f"derive_made{n}"] for n in (1, 2, 3))
        assert two["inputs"] == [*one["inputs"], rest["inputs"][1]] and one["inputs"][0] == rest["inputs"][0]
        assert params(two)["x"] == params(one)["x"] + params(rest)["x"]


def test_what_is_brought_back_is_a_medium_of_an_earlier_turn() -> None:
    samples, parts, _ = planned("multi_turn")
    ways = {s["sample_id"]: s["template"].partition("/")[0] for s in samples if s["template"].startswith("recall ")}
    assert set(ways.values()) == {"recall first", "recall undo", "recall scenes", "recall sounds"}
    for sample_id, way in ways.items():
        media = [part["asset_id"] for part in parts if part["sample_id"] == sample_id and part["asset_id"]]
        before, last = media[:-1], media[-1]
        place = {"recall first": 0, "recall undo": 1, "recall scenes": -2, "recall sounds": -2}[way]
        assert last == before[place] and last != before[-1]  # not what the turn before shows
    relations = {json.loads(s["meta"])["relation"] for s in samples if s["sample_id"] in ways}
    assert relations == set(ways.values())


def test_a_build_depends_on_recall_only_if_it_selects_it() -> None:
    planner = planners()["multi_turn"]
    without, chosen = planner.templates_of({}), planner.templates_of({"kinds": ["edits", "recall"]})
    assert chosen == list(planner.templates) and len(without) == len(chosen) - 16
    assert not any("recall" in template.kind for template in without)
    known = candidates("multi_turn")
    assert all(
        a["split"] == b for a in known if a["kind"] == "recall first" for b in [ASSETS[a["slot_step0"]]["split"]]
    )


def test_a_sound_taken_out_leaves_the_other_as_it_was() -> None:
    rng = np.random.default_rng(0)
    sounds = {f"sound {n}": rng.uniform(-0.9, 0.9, 8000).astype(np.float32) for n in range(12)}
    mix = transforms()["mix"].make
    for c in of_kind("multi_turn", "sounds")[:20]:
        one, two, rest = (
            mix([sounds[name] for name in c[f"derive_heard{n}"]["inputs"]], params(c[f"derive_heard{n}"]))
            for n in (1, 2, 3)
        )
        length = max(map(len, (one, two, rest)))
        one, two, rest = (np.pad(sound, (0, length - len(sound))) for sound in (one, two, rest))
        assert np.abs(two - one - rest).max() <= 2 / 32768
