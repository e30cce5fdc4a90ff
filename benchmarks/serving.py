"""What serving costs: requests together against one by one, and batch generation against the bare loop.

    python benchmarks/serving.py [CHECKPOINT] [--requests 64] [--at-once 32]

Without a checkpoint a tiny model with random weights is made: the figures are about the machinery, not the media.
"""

from __future__ import annotations

import codi2_flows.settings  # noqa: F401  isort: skip  (quiet, offline)
import argparse
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import torch

KINDS = ("text", "image", "audio", "video")


def tiny(folder: Path) -> Path:
    from codi2_model import CoDi2Config, CoDi2ForConditionalGeneration, CoDi2Processor

    texts = ["Draw a red apple in the flat style.", "Play a low drum.", "What is this? A green leaf."] * 4
    processor = CoDi2Processor.build(CoDi2Config.preset("tiny", vocab_size=512), texts=texts)
    CoDi2ForConditionalGeneration.build(processor.config, seed=1).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def request(n: int) -> dict[str, Any]:
    kind = KINDS[n % len(KINDS)]
    messages = [{"role": "user", "content": f"Make number {n}."}]
    return {"messages": messages, "modalities": [kind], "seed": n, "steps": 10, "max_tokens": 32}


def served(checkpoint: Path, count: int, at_once: int) -> None:
    """The same mixed requests through the whole server, one by one and together."""
    from codi2_model.serving.app import serve
    from codi2_model.serving.settings import ServerSettings

    settings = ServerSettings(max_batch=16, queue=2 * at_once)
    server = serve(checkpoint, port=0, blocking=False, model_id="codi2", settings=settings)
    assert server is not None
    with server, httpx.Client(timeout=300) as client:

        def ask(n: int) -> int:
            return client.post(f"{server.url}/v1/chat/completions", json=request(n)).status_code

        for n in range(8):
            ask(n)  # warm
        found = {}
        for name, width in (("one by one", 1), (f"{at_once} at once", at_once)):
            begun = time.perf_counter()
            with ThreadPoolExecutor(width) as pool:
                codes = list(pool.map(ask, range(count)))
            seconds = time.perf_counter() - begun
            found[name] = count / seconds
            print(f"served, {name:<12} {count / seconds:7.2f} requests/s   statuses {sorted(set(codes))}")
        slow, fast = found.values()
        print(f"together / one by one  {fast / slow:.2f}")


def batched(checkpoint: Path, count: int, folder: Path) -> None:
    """`codi2 generate` beside a loop over the model's own generate with the same rows in the same batches."""
    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor
    from codi2_model.serving.batch import BATCH, generate_requests

    torch.set_num_threads(1)
    rows = [{**request(n), "id": str(n), "modalities": ["image"]} for n in range(count)]
    model = CoDi2ForConditionalGeneration.from_pretrained(checkpoint).eval()
    processor = CoDi2Processor.from_pretrained(checkpoint)

    def bare(some: list[dict[str, Any]]) -> None:
        for start in range(0, len(some), BATCH):
            chosen = some[start : start + BATCH]
            seeds = [row["seed"] for row in chosen]
            model.generate(
                processor, [row["messages"] for row in chosen], modalities=("image",), seed=seeds, steps=10,
                max_new_tokens=32,
            )  # fmt: skip

    bare(rows[:BATCH])
    begun = time.perf_counter()
    bare(rows)
    loop = time.perf_counter() - begun
    requests = folder / "requests.jsonl"
    requests.write_text("".join(json.dumps(row) + "\n" for row in rows))
    begun = time.perf_counter()
    generate_requests(str(requests), str(folder / "out"), str(checkpoint), str(folder / "root"))
    whole = time.perf_counter() - begun
    print(
        f"bare loop    {1000 * loop / count:7.1f} ms a row\ncodi2 generate {1000 * whole / count:5.1f} ms a row, loading and page included"
    )
    print(f"generate / bare loop  {whole / loop:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--rows", type=int, default=128)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="codi2-bench-") as folder:
        checkpoint = Path(chosen.checkpoint) if chosen.checkpoint else tiny(Path(folder) / "checkpoint")
        served(checkpoint, chosen.requests, chosen.at_once)
        batched(checkpoint, chosen.rows, Path(folder))


if __name__ == "__main__":
    main()
