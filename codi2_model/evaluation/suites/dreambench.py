"""DreamBench: 30 subjects x 25 prompts x 4 pictures (Ruiz et al. 2023, DreamBooth), zero-shot: one picture is shown.

Data: the folder `dataset` of google/dreambooth: one folder of pictures a subject, and prompts_and_classes.txt.
Both ways in which papers compare with the subject are measured: against all of its pictures (as DreamBooth does), and
against the one that was shown (as zero-shot papers do). CLIP-T compares with the prompt without the subject's token.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from codi2_model.evaluation.data import by_hash
from codi2_model.evaluation.suites import Figure, Request, Suite, SuiteError, needed, read_image, user
from codi2_model.evaluation.suites.networks import Networks
from codi2_storage.locations.paths import is_shadow

PICTURES = 4
LIVE = ("cat", "dog")
_PROMPT = re.compile(r"^'(.*)'\.format\(", re.M)
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def subjects(data: Path) -> dict[str, str]:
    """subject -> class."""
    text = needed(data / "prompts_and_classes.txt", "the folder `dataset` of DreamBooth holds it").read_text("utf-8")
    listed = text.split("Prompts")[0].split("subject_name,class")[-1]
    pairs = (line.split(",", 1) for line in listed.split("\n") if "," in line)
    return {subject.strip(): kind.strip() for subject, kind in pairs}


def prompts(data: Path, live: bool) -> list[str]:
    """25 prompts with {1} for the class and {0} for the token."""
    text = (data / "prompts_and_classes.txt").read_text("utf-8")
    objects, _, animals = text.partition("Live Subject Prompts")
    return _PROMPT.findall(animals if live else objects)


def pictures(data: Path, subject: str) -> list[Path]:
    folder = needed(data / subject, f"the pictures of {subject}")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and not is_shadow(path.name))
    if not found:
        raise SuiteError(f"{folder} holds no pictures")
    return found


@lru_cache(maxsize=256)
def opened(path: Path) -> Image.Image:
    return read_image(path, "an image of a subject")


def requests(data: Path, limit: int | None, seed: int) -> list[Request]:
    """`limit` counts prompts, of all subjects' by hash; each is answered with 4 pictures."""
    found: dict[str, list[Request]] = {}
    for subject, kind in subjects(data).items():
        shown = pictures(data, subject)[0]
        for number, prompt in enumerate(prompts(data, kind in LIVE)):
            words = " ".join(prompt.format("", kind).split())
            asked = user(
                f"Here is a {kind}: ", {"type": "image", "value": opened(shown), "icl_role": "query"},
                f". Draw the same {kind}: {words}",
            )  # fmt: skip
            group = f"{subject}/{number:02d}"
            about = {"subject": subject, "words": words, "shown": shown.name}
            found[group] = [Request(f"{group}/{n}", "subject_driven", asked, about, group) for n in range(PICTURES)]
    chosen = by_hash(found, seed)[:limit]
    return [request for group in sorted(chosen) for request in found[group]]


def score(data: Path, asked: Sequence[Request], answers: Sequence[Any | None], judges: Networks) -> list[Figure]:
    """DINO, CLIP-I (both protocols) and CLIP-T, beside the shown picture handed back, and real pictures."""
    names = sorted({request.about["subject"] for request in asked})
    files = {name: pictures(data, name) for name in names}
    words = sorted({request.about["words"] for request in asked})
    real = [path for name in names for path in files[name]]
    there = [n for n, answer in enumerate(answers) if answer is not None]
    blank = Image.new("RGB", (64, 64), "white")
    made = [answer if answer is not None else blank for answer in answers]
    scores: dict[tuple[str, str | None], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    texts = dict(zip(words, judges.clip_texts(words), strict=True))
    for judge, embed in (("dino", judges.dino_images), ("clip_i", judges.clip_images)):
        known = dict(zip(real, embed([opened(path) for path in real]), strict=True))
        rows = embed(made)
        for n, request in enumerate(asked):
            mine = files[request.about["subject"]]
            shown = mine[0]
            every = np.stack([known[path] for path in mine])
            rest = np.stack([known[path] for path in mine if path != shown] or [known[shown]])
            answered = n in there
            scores[(f"{judge}_all", None)][request.group].append(float((every @ rows[n]).mean()) if answered else 0.0)
            scores[(f"{judge}_shown", None)][request.group].append(float(known[shown] @ rows[n]) if answered else 0.0)
            scores[(f"{judge}_all", "copy_input")][request.group].append(float((every @ known[shown]).mean()))
            scores[(f"{judge}_all", "real")][request.group].append(float((rest @ known[shown]).mean()))
            if judge == "clip_i":
                text = texts[request.about["words"]]
                scores[("clip_t", None)][request.group].append(float(text @ rows[n]) if answered else 0.0)
                scores[("clip_t", "copy_input")][request.group].append(float(text @ known[shown]))
    return [
        Figure("subject_driven", metric, {group: float(np.mean(v)) for group, v in by.items()}, baseline=who)
        for (metric, who), by in scores.items()
    ]


SUITE = Suite("dreambench", "image", "Ruiz et al. 2023, arXiv 2208.12242", requests, score, ("clip", "dino"))
