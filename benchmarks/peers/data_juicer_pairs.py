"""The pairs with Data-Juicer: usage: python data_juicer_pairs.py FOLDER OUT (in an environment with py-data-juicer)

Filters by sides and caption, removes images with equal perceptual hashes, exports JSON lines with the paths of the images. A damaged
image removes the whole batch that it is in, of 1,000 rows by default, hence batches of one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from data_juicer.config import init_configs
from data_juicer.core import DefaultExecutor

CONFIG = """\
project_name: peers
dataset_path: {folder}/pairs.jsonl
export_path: {out}/kept.jsonl
np: 2
open_tracer: false
use_cache: false
process:
  - image_shape_filter: {{min_width: 300, min_height: 300, batch_size: 1}}
  - text_length_filter: {{min_len: 10, max_len: 200, text_key: caption}}
  - image_deduplicator: {{method: phash}}
"""


def main(folder: str, out: str) -> None:
    config = Path(out) / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG.format(folder=folder, out=out))
    DefaultExecutor(init_configs(["--config", str(config)])).run()
    kept = sum(1 for _ in (Path(out) / "kept.jsonl").open())
    print(json.dumps({"kept": kept}), file=sys.__stdout__)  # sys.stdout is redirected to the log


if __name__ == "__main__":
    main(*sys.argv[1:])
