"""CoBSAT: text-to-image in-context learning (Zeng et al. 2024, arXiv 2402.01293), judged by CLIP.

Ten tasks in which texts name an object and the images share a detail, or the other way round. The image for the last text must
have the common property. Data: the folder of the published repository, with
datasets/<detail kind>_<object>/<detail>_<object>.jpg and load_datasets/prompts_list*.json (without it, the list is generated in
the same way, with Python's generator and seed 123). An answer is right if CLIP picks the right object and the right detail
among the ten of each kind. Published figures judged by LLaVA differ.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from codi2_model.evaluation.data import by_hash
from codi2_model.evaluation.suites import Figure, Request, Suite, read_image, user
from codi2_model.evaluation.suites.networks import Networks

ITEMS: dict[str, list[str]] = {
    name: words.split()
    for name, words in {
        "color": "yellow white red purple pink orange green brown blue black",
        "object": "leaf hat cup chair car box book ball bag apple",
        "animal": "zebra tiger sheep pig monkey lion dog cow cat bird",
        "style": "watercolor sketch pixel origami lego icon graffiti futuristic 3d old",
        "action": "swim sleep sing run read fly eat drink cry angry",
        "background": "beach desert glacier volcano park gym waterfall space cave seafloor",
        "texture": "wood wicker sequined plastic paper metal leather lace denim ceramic",
    }.items()
}
PAIRS = (
    ("color", "object"),
    ("background", "animal"),
    ("style", "object"),
    ("action", "animal"),
    ("texture", "object"),
)
# (kind of the text, kind that the images share); odd tasks infer the object, even ones the detail
TASKS = [pair for detail, thing in PAIRS for pair in ((detail, thing), (thing, detail))]
SHOTS = (2, 4, 6, 8)
PROMPTS = 1000
THINGS = ("object", "animal")


def prompt_lists(data: Path) -> list[dict[str, list[int]]]:
    """The published list of prompts, or one generated in the same way."""
    for name in ("prompts_list.json", "prompts_list_default.json", "prompts_list_inference.json"):
        path = data / "load_datasets" / name
        if path.is_file():
            return json.loads(path.read_text("utf-8"))
    draw = random.Random(123)
    words, shared, lists = list(range(10)), list(range(10)), []
    for _ in range(PROMPTS):
        draw.shuffle(words)
        draw.shuffle(shared)
        lists.append({"x_list": words.copy(), "theta_list": shared.copy()})
    return lists


def read_example(data: Path, kinds: tuple[str, str], word: str, shared: str) -> Image.Image:
    """The image of an object and a detail."""
    thing, detail = (word, shared) if kinds[0] in THINGS else (shared, word)
    kind = kinds[1] if kinds[0] in THINGS else kinds[0]
    path = data / "datasets" / f"{kind}_{thing}" / f"{detail}_{thing}.jpg"
    return read_image(path, "an image of CoBSAT")


def requests(data: Path, limit: int | None, seed: int) -> list[Request]:
    """Requests for `limit` prompts of each task and number of shots."""
    lists = prompt_lists(data)
    result = []
    for number, kinds in enumerate(TASKS, 1):
        for shots in SHOTS:
            name = f"{number:02d}_{kinds[0]}_{kinds[1]}_{shots}shot"
            chosen = by_hash(map(str, range(len(lists))), seed)[:limit]
            for index in sorted(map(int, chosen)):
                entry = lists[index]
                words = [ITEMS[kinds[0]][i] for i in entry["x_list"][: shots + 1]]
                shared = ITEMS[kinds[1]][entry["theta_list"][shots + 1]]
                parts: list[Any] = []
                for word in words[:-1]:
                    value = read_example(data, kinds, word, shared)
                    parts += [f"{word}: ", {"type": "image", "value": value, "icl_role": "demo_output"}, "\n"]
                about = {"kinds": kinds, "word": words[-1], "shared": shared}
                result.append(
                    Request(f"{name}/{index}", name, user(*parts, f"{words[-1]}: "), about, f"{name}/{index}")
                )
    return result


def score(data: Path, items: Sequence[Request], answers: Sequence[Any | None], judges: Networks) -> list[Figure]:
    """Accuracy of object, detail and both; chance is 1/10, 1/10, 1/100."""
    vocabulary = sorted({word for words in ITEMS.values() for word in words})
    texts = dict(zip(vocabulary, judges.clip_texts(vocabulary), strict=True))
    present = {n: answer for n, answer in enumerate(answers) if answer is not None}
    rows = dict(zip(present, judges.clip_images(list(present.values())), strict=True)) if present else {}
    scores: dict[tuple[str, str], dict[str, float]] = {}
    for n, request in enumerate(items):
        right = {}
        for kind, truth in zip(request.about["kinds"], (request.about["word"], request.about["shared"]), strict=True):
            likeness = {word: float(texts[word] @ rows[n]) for word in ITEMS[kind]} if n in rows else {}
            best = max(likeness, key=lambda word: likeness[word]) if likeness else None
            right["object" if kind in THINGS else "detail"] = float(best == truth)
        right["both"] = right["object"] * right["detail"]
        for name, value in right.items():
            scores.setdefault((request.task, f"{name}_accuracy"), {})[request.group] = value
    figures = [Figure(task, metric, by) for (task, metric), by in scores.items()]
    chance = {"object_accuracy": 0.1, "detail_accuracy": 0.1, "both_accuracy": 0.01}
    return figures + [
        Figure(task, metric, value=chance[metric], n=len(by), baseline="chance")
        for (task, metric), by in scores.items()
    ]


SUITE = Suite("cobsat", "image", "Zeng et al. 2024, arXiv 2402.01293", requests, score, ("clip",))
