"""The pairs with `codi2 build`: usage: python ours.py FOLDER OUT (in this project's environment)

Decodes, filters by sides and caption, rejects exact and near duplicates, writes media of 64 px and WebDataset shards of samples,
and names every row that is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RECIPE = """\
name: peers
description: Image-text pairs for the comparison with peers.
seed: 1
image: {{size: 64}}
corpora: [{{name: webdataset, label: pairs, path: "{folder}/tars", options: {{licence: CC0-1.0}}}}]
signals: [{{op: phash}}]
filters:
  - {{modality: image, reject: "least(source_width, source_height) < 300", reason: a side of under 300 pixels}}
  - {{modality: image, reject: "length(caption) not between 10 and 200", reason: caption too short or too long}}
duplicates: [{{modality: image, by: perceptual, drop: true}}]
tasks: {{text_to_image: {{train: 100000, validation: 1000, test: 1000}}}}
"""


def main(folder: str, out: str) -> None:
    recipe = Path(out) / "peers.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(RECIPE.format(folder=Path(folder).absolute()))
    codi2 = [sys.executable, "-m", "codi2_flows.cli.main"]
    subprocess.run(
        [*codi2, "build", str(recipe), "--root", out, "--workers", "2"], check=True, stdout=subprocess.DEVNULL
    )

    sql = """select (select count(distinct asset_id) from assets where modality = 'image' and shard is not null) as kept,
                    count(*) filter (where stage = 'ingest') as damaged,
                    count(*) filter (where op like '%duplicate%') as duplicates,
                    count(*) filter (where op = 'filter') as filtered from rejects"""
    done = subprocess.run([*codi2, "query", sql, "--root", out, "--json"], check=True, capture_output=True, text=True)
    [counts] = json.loads(done.stdout)
    print(json.dumps(counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
