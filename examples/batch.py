"""A batch: requests as JSON lines, answered in this process, and its replies read back as samples with media.

python examples/batch.py [FOLDER]                                     # default: ./data/examples/batch
codi2 generate requests.jsonl --out OUT --checkpoint shipped          # the same on Ray, resumable
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from codi2_datasets.exports.webdataset import read_tar
from codi2_model.serving.batch.generate_batch import generate_requests

PROMPTS = {"apple": "Draw a red apple in the Noto style.", "hello": "Hello, who are you?"}


def main(folder: str = "data/examples/batch", checkpoint: str = "shipped") -> None:
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    lines = [
        {"id": name, "messages": [{"role": "user", "content": prompt}], "max_tokens": 16, "steps": 4,
         "modalities": ["image" if prompt.startswith("Draw") else "text"]}
        for name, prompt in PROMPTS.items()
    ]  # fmt: skip
    requests = home / "requests.jsonl"
    requests.write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = generate_requests(str(requests), str(home / "out"), checkpoint, str(home / "root"))
    print("page:", page)
    for shard in sorted((home / "out" / "shards").glob("*.tar")):
        for item in read_tar(str(shard), shard.name):
            reply = item.sample.messages[-1].content
            print(item.sample.meta["request_id"], [part.text or f"{part.type} {part.part}" for part in reply])


if __name__ == "__main__":
    main(*sys.argv[1:])
