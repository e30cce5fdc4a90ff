"""DreamBench: 30 subjects x 25 prompts x 4 images (Ruiz et al. 2023, DreamBooth), zero-shot from one reference image.

Data: the folder `dataset` of google/dreambooth, with one folder of images per subject, and prompts_and_classes.txt.
Subject similarity is measured in both published ways: against all images of the subject (as DreamBooth), and against the
reference image (as zero-shot papers). CLIP-T compares with the prompt without the token of the subject.
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

IMAGES_PER_PROMPT = 4
LIVE = ("cat", "dog")
_PROMPT = re.compile(r"^'(.*)'\.format\(", re.M)
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def subjects(data: Path) -> dict[str, str]:
    """Subject -> class."""
    text = needed(data / "prompts_and_classes.txt", "a file of the folder `dataset` of DreamBooth").read_text("utf-8")
    listed = text.split("Prompts")[0].split("subject_name,class")[-1]
    pairs = (line.split(",", 1) for line in listed.split("\n") if "," in line)
    return {subject.strip(): kind.strip() for subject, kind in pairs}


def prompts(data: Path, live: bool) -> list[str]:
    """The 25 prompts, with {1} for the class and {0} for the token."""
    text = (data / "prompts_and_classes.txt").read_text("utf-8")
    objects, _, animals = text.partition("Live Subject Prompts")
    return _PROMPT.findall(animals if live else objects)


def image_files(data: Path, subject: str) -> list[Path]:
    """Image files of a subject. Raises SuiteError if there are none."""
    folder = needed(data / subject, f"the images of {subject}")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and not is_shadow(path.name))
    if not files:
        raise SuiteError(f"{folder}: no images")
    return files


@lru_cache(maxsize=256)
def cached_image(path: Path) -> Image.Image:
    """Read an image, with a cache."""
    return read_image(path, "an image of a subject")


def requests(data: Path, limit: int | None, seed: int) -> list[Request]:
    """Requests for `limit` prompts over all subjects, picked by hash, with 4 images each."""
    by_group: dict[str, list[Request]] = {}
    for subject, kind in subjects(data).items():
        reference = image_files(data, subject)[0]
        for number, prompt in enumerate(prompts(data, kind in LIVE)):
            words = " ".join(prompt.format("", kind).split())
            request_prompt = user(
                f"Here is a {kind}: ", {"type": "image", "value": cached_image(reference), "icl_role": "query"},
                f". Draw the same {kind}: {words}",
            )  # fmt: skip
            group = f"{subject}/{number:02d}"
            about = {"subject": subject, "words": words, "shown": reference.name}
            by_group[group] = [
                Request(f"{group}/{n}", "subject_driven", request_prompt, about, group)
                for n in range(IMAGES_PER_PROMPT)
            ]
    chosen = by_hash(by_group, seed)[:limit]
    return [request for group in sorted(chosen) for request in by_group[group]]


def score(data: Path, items: Sequence[Request], answers: Sequence[Any | None], judges: Networks) -> list[Figure]:
    """DINO and CLIP-I (both protocols) and CLIP-T, with the unchanged reference image and real images as baselines."""
    names = sorted({request.about["subject"] for request in items})
    files = {name: image_files(data, name) for name in names}
    words = sorted({request.about["words"] for request in items})
    real = [path for name in names for path in files[name]]
    present = [n for n, answer in enumerate(answers) if answer is not None]
    blank = Image.new("RGB", (64, 64), "white")
    generated = [answer if answer is not None else blank for answer in answers]
    scores: dict[tuple[str, str | None], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    texts = dict(zip(words, judges.clip_texts(words), strict=True))
    for judge, embed in (("dino", judges.dino_images), ("clip_i", judges.clip_images)):
        rows_by_file = dict(zip(real, embed([cached_image(path) for path in real]), strict=True))
        rows = embed(generated)
        for n, request in enumerate(items):
            subject_files = files[request.about["subject"]]
            reference = subject_files[0]
            all_rows = np.stack([rows_by_file[path] for path in subject_files])
            other_rows = np.stack(
                [rows_by_file[path] for path in subject_files if path != reference] or [rows_by_file[reference]]
            )
            answered = n in present
            scores[(f"{judge}_all", None)][request.group].append(
                float((all_rows @ rows[n]).mean()) if answered else 0.0
            )
            scores[(f"{judge}_shown", None)][request.group].append(
                float(rows_by_file[reference] @ rows[n]) if answered else 0.0
            )
            scores[(f"{judge}_all", "copy_input")][request.group].append(
                float((all_rows @ rows_by_file[reference]).mean())
            )
            scores[(f"{judge}_all", "real")][request.group].append(float((other_rows @ rows_by_file[reference]).mean()))
            if judge == "clip_i":
                text = texts[request.about["words"]]
                scores[("clip_t", None)][request.group].append(float(text @ rows[n]) if answered else 0.0)
                scores[("clip_t", "copy_input")][request.group].append(float(text @ rows_by_file[reference]))
    return [
        Figure("subject_driven", metric, {group: float(np.mean(v)) for group, v in by.items()}, baseline=baseline)
        for (metric, baseline), by in scores.items()
    ]


SUITE = Suite("dreambench", "image", "Ruiz et al. 2023, arXiv 2208.12242", requests, score, ("clip", "dino"))
