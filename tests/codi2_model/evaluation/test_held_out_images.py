"""examples/held_out_images.py: a cell for every held-out prompt, of the model's image beside the expected one."""

from __future__ import annotations

import runpy
from pathlib import Path

from PIL import Image

EXAMPLE = Path(__file__).parents[3] / "examples" / "held_out_images.py"


def test_the_sheet_shows_output_and_truth_of_held_out_prompts(
    build_root: str, checkpoint: Path, tmp_path: Path
) -> None:
    example = runpy.run_path(str(EXAMPLE))
    example["main"](str(tmp_path / "sheet.webp"), build_root, str(checkpoint))
    sheet = Image.open(tmp_path / "sheet.webp")
    width = example["COLUMNS"] * (2 * example["SIDE"] + 3 * example["GAP"])
    assert sheet.width == width and sheet.height >= example["SIDE"]
    assert len(sheet.convert("RGB").getcolors(1 << 20) or ()) > 50
