"""A sheet of images for held-out prompts, picked by seed: prompt, the model's image, the expected one.

python examples/held_out_images.py OUT.webp [ROOT] [CHECKPOINT] [SPLIT]    # default: ./data, shipped, test

Images are enlarged by the upscaler of the image decoder, as in chat and on the web page. `docs/images/model.webp` is the sheet of the
shipped weights on a build of the recipe `open`.
"""

from __future__ import annotations

import sys
import textwrap
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from codi2_model.checkpoints.registry import checkpoint_folder, load_model
from codi2_model.evaluation.data import LoadedSample, load_samples, pick, sample_rows, text_of
from codi2_model.generation import generate
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

COLUMNS, SIDE, GAP, CAPTION = 4, 128, 8, 58  # pixels, but for COLUMNS
COUNT = 12


def main(out: str, root: str = "./data", checkpoint: str = "shipped", split: str = "test") -> None:
    store = Store(root)
    catalog = Catalog(store)
    rows = sample_rows(catalog, catalog.latest_build(), split)
    chosen = pick([r for r in rows if r.task == "text_to_image" and r.holdout == "combination"], COUNT, seed=0)
    loaded = load_samples(store, chosen)
    samples = [loaded[row.sample_id] for row in chosen]
    model, processor = load_model(checkpoint_folder(checkpoint))
    prompts = [sample.prompt for sample in samples]
    replies = generate(model, processor, prompts, modalities=("image",), seed=0, upscale=True)
    images = [next(part["value"] for part in reply if part["type"] == "image") for reply in replies]
    draw_sheet(samples, images).save(out, "WEBP", quality=88, method=6)


def draw_sheet(samples: list[LoadedSample], images: list[Any]) -> Image.Image:
    """Cells of model's image, expected image and prompt, COLUMNS a line."""
    width, height = 2 * SIDE + 3 * GAP, SIDE + CAPTION + GAP
    sheet = Image.new("RGB", (COLUMNS * width, -(-len(samples) // COLUMNS) * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, (sample, image) in enumerate(zip(samples, images, strict=True)):
        x, y = number % COLUMNS * width + GAP, number // COLUMNS * height
        for column, one in enumerate((image, sample.target["value"])):
            sheet.paste(
                one.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC), (x + column * (SIDE + GAP), y)
            )
        prompt = text_of(part for message in sample.prompt for part in message["content"])
        draw.text((x, y + SIDE + 4), "\n".join(textwrap.wrap(prompt, 38)[:3]), fill="#333", font=font)
    return sheet


if __name__ == "__main__":
    main(*sys.argv[1:])
