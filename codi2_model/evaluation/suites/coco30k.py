"""COCO-30K: images from 30,000 captions of MS-COCO val2014, with FID against the real images and CLIPScore.

Data: annotations/captions_val2014.json and val2014/*.jpg as published. One caption per image is picked by hash of the seed.
FID: Heusel et al. 2017, with the Inception of 2015-12-05, without shrinkage; with another network the measure is named
fid_other_network. CLIPScore: Hessel et al. 2021, 2.5 x max(cosine, 0).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from codi2_model.evaluation.data import by_hash
from codi2_model.evaluation.metrics.frechet import frechet
from codi2_model.evaluation.suites import Figure, Request, Suite, needed, read_image, user
from codi2_model.evaluation.suites.networks import Networks
from codi2_model.evaluation.suites.spool import Lazy, lazy

CAPTIONS = 30_000
WEIGHT = 2.5  # of CLIPScore


def requests(data: Path, limit: int | None, seed: int) -> list[Request]:
    """Requests for `limit` images, by default 30,000, or fewer if the data has fewer."""
    path = needed(data / "annotations" / "captions_val2014.json", "the captions of COCO")
    content = json.loads(path.read_text("utf-8"))
    files = {str(image["id"]): image["file_name"] for image in content["images"]}
    captions: dict[str, dict[str, str]] = defaultdict(dict)
    for row in content["annotations"]:
        if str(row["image_id"]) in files and (caption := str(row["caption"] or "").strip()):
            captions[str(row["image_id"])][str(row["id"])] = caption
    chosen = sorted(by_hash(captions, seed)[: CAPTIONS if limit is None else limit])
    result = []
    for image in chosen:
        caption = captions[image][by_hash(captions[image], seed)[0]]
        about = {"caption": caption, "file": files[image]}
        result.append(Request(image, "text_to_image", user(f"Draw this: {caption}"), about, image))
    return result


def real_image(data: Path, request: Request) -> Image.Image:
    """The real image of a request."""
    return read_image(data / "val2014" / request.about["file"], "an image of COCO val2014")


def score(data: Path, items: Sequence[Request], answers: Sequence[Any | None], judges: Networks) -> list[Figure]:
    """CLIPScore, with 0 for missing answers, and FID without them (see its n)."""
    images = lazy(answers)
    present = [n for n in range(len(images)) if images[n] is not None]
    generated = images.part(present)
    texts = judges.clip_texts([request.about["caption"] for request in items])
    truths = Lazy([partial(real_image, data, request) for request in items])
    figures = []
    rows = list(judges.clip_images(generated)) if present else []
    own = dict.fromkeys((request.group for request in items), 0.0)
    own |= {items[n].group: clip_score(float(row @ texts[n])) for n, row in zip(present, rows, strict=True)}
    figures.append(Figure("text_to_image", "clip_score", own))
    pairs = zip(items, judges.clip_images(truths), texts, strict=True)
    by_real = {request.group: clip_score(float(row @ text)) for request, row, text in pairs}
    figures.append(Figure("text_to_image", "clip_score", by_real, baseline="real"))
    if len(present) > 1:
        name = "fid" if (judges.folder / "inception.pth").is_file() else "fid_other_network"
        distance = frechet(judges.inception_images(generated), judges.inception_images(truths), shrink=False)
        figures.append(Figure("text_to_image", name, value=distance.value, n=len(present)))
    return figures


def clip_score(cosine: float) -> float:
    """CLIPScore of a cosine."""
    return WEIGHT * max(cosine, 0.0)


SUITE = Suite(
    "coco30k",
    "image",
    "Lin et al. 2014; Heusel et al. 2017; Hessel et al. 2021",
    requests,
    score,
    ("clip", "inception"),
)
