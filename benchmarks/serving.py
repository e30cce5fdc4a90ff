"""What serving costs and what it withstands, on the real Ray Serve application.

    python benchmarks/serving.py [CHECKPOINT] [--requests 64] [--at-once 32]             together against one by one
    python benchmarks/serving.py [CHECKPOINT] --precisions float32 auto                  images a second, first bytes
    python benchmarks/serving.py [CHECKPOINT] --soak 300 [--kill-every 30] [--replicas 2]   under load, replicas killed

Without a checkpoint a tiny model with random weights is made: the figures are about the machinery, not the media. Exit
status 1 where a request failed without a reason.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (quiet, offline)
import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, get_args

import httpx
import numpy as np
from PIL import Image
from soak import soak
from tiny import tiny

from codi2_model.checkpoints.device import Precision
from codi2_model.serving.http.media import encoded, image_to_url

Body = dict[str, Any]


def media_in_turn(n: int) -> Body:
    """A text, a picture, a sound, a clip."""
    return asking(n, ("text", "image", "audio", "video")[n % 4])


def tasks_in_turn(n: int) -> Body:
    """Eight tasks of the model: words, a picture and a sound described, a question, and four that make media."""
    picture = {"type": "image_url", "image_url": {"url": image_to_url(Image.new("RGB", (64, 48), (n % 256, 90, 40)))}}
    wave = np.sin(np.arange(16_000) / (9 + n % 5)).astype(np.float32)
    sound = {"type": "input_audio", "input_audio": {"data": encoded("audio", wave), "format": "wav"}}
    kinds: list[tuple[str, list[Body]]] = [
        ("text", []), ("text", [picture]), ("text", [sound]), ("text", [picture, picture]),
        ("image", []), ("image", [picture]), ("audio", []), ("video", []),
    ]  # fmt: skip
    return asking(n, *kinds[n % len(kinds)])


def asking(n: int, modality: str, media: list[Body] | None = None) -> Body:
    content = [{"type": "text", "text": f"This is number {n}."}, *(media or [])]
    messages = [{"role": "user", "content": content}]
    return {"messages": messages, "modalities": [modality], "seed": n, "steps": 10, "max_tokens": 32}


MIXES: dict[str, Callable[[int], Body]] = {
    "tasks": tasks_in_turn,
    "media": media_in_turn,
    "text": lambda n: asking(n, "text"),
    "image": lambda n: asking(n, "image"),
    "audio": lambda n: asking(n, "audio"),
    "video": lambda n: asking(n, "video"),
}


@contextmanager
def serving(
    checkpoint: Path, at_once: int, replicas: int = 1, precision: Precision = "auto", warm: bool = True
) -> Iterator[str]:
    """The URL of the application, after a request of each kind if `warm`."""
    from codi2_model.serving.deploy.app import serve
    from codi2_model.serving.deploy.settings import ServerSettings

    settings = ServerSettings(max_batch=16, queue=2 * at_once, replicas=replicas, precision=precision)
    server = serve(checkpoint, port=0, blocking=False, model_id="codi2", settings=settings)
    assert server is not None
    with server:
        for n in range(8 if warm else 0):
            httpx.post(f"{server.url}/v1/chat/completions", json=tasks_in_turn(n), timeout=300).raise_for_status()
        yield server.url


def together(url: str, mix: str, count: int, at_once: int) -> bool:
    """The same requests one by one and at once. Whether all were answered."""
    bodies = [MIXES[mix](n) for n in range(count)]
    rates, codes = [], Counter[int]()
    with httpx.Client(timeout=300, limits=httpx.Limits(max_connections=at_once)) as client:
        for width in (1, at_once):
            begun = time.perf_counter()
            with ThreadPoolExecutor(width) as pool:
                answers = pool.map(lambda body: client.post(f"{url}/v1/chat/completions", json=body), bodies)
                codes.update(answer.status_code for answer in answers)
            rates.append(count / (time.perf_counter() - begun))
    print(
        f"{mix:<6} one by one {rates[0]:6.2f} requests/s   {at_once} at once {rates[1]:6.2f} requests/s"
        f"   {rates[1] / rates[0]:5.2f} times   statuses {dict(codes)}"
    )
    return set(codes) == {200}


def by_precision(checkpoint: Path, precisions: Sequence[Precision], count: int, at_once: int) -> None:
    """Images a second, time to the first byte and the first request after the start, for each precision in turns."""
    print("| decoders | first request, s | first byte, s | one image, s | images/s, together | of the first |")
    print("|---|---|---|---|---|---|")
    rates: list[float] = []
    for precision in precisions:
        with serving(checkpoint, at_once, precision=precision, warm=False) as url:
            first = streamed(url, 0)[1]
            alone = [streamed(url, n) for n in range(1, 9)]
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(lambda n: streamed(url, n), range(at_once)))
                begun = time.perf_counter()
                list(pool.map(lambda n: streamed(url, n), range(count)))
            rates.append(count / (time.perf_counter() - begun))
        byte, whole = (median(column) for column in zip(*alone, strict=True))
        ratio = rates[-1] / rates[0]
        print(f"| {precision} | {first:.2f} | {byte:.3f} | {whole:.3f} | {rates[-1]:.2f} | {ratio:.2f} |", flush=True)


def streamed(url: str, n: int) -> tuple[float, float]:
    """Seconds to the first and to the last byte of a streamed image, with the model's own number of steps."""
    body = {**asking(n, "image"), "stream": True}
    body.pop("steps")
    begun, first = time.perf_counter(), None
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=300) as answer:
        answer.raise_for_status()
        for _ in answer.iter_bytes():
            first = first or time.perf_counter() - begun
    assert first is not None
    return first, time.perf_counter() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--mix", choices=MIXES, action="append", help="may be repeated; tasks and media by default")
    parser.add_argument(
        "--precisions", choices=get_args(Precision), nargs="+", help="compare precisions of the decoders"
    )
    parser.add_argument("--soak", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--kill-every", type=float, default=0.0, metavar="SECONDS", help="0: no replica is killed")
    parser.add_argument("--victim", choices=("model", "ingress"), default="model", help="of which deployment")
    parser.add_argument("--replicas", type=int, default=1, help="at most: Ray adds them as requests wait")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="codi2-bench-") as folder:
        checkpoint = Path(chosen.checkpoint) if chosen.checkpoint else tiny(Path(folder) / "checkpoint")
        if chosen.precisions:
            by_precision(checkpoint, chosen.precisions, chosen.requests, chosen.at_once)
            return 0
        with serving(checkpoint, chosen.at_once, chosen.replicas) as url:
            if chosen.soak:
                good = soak(url, tasks_in_turn, chosen.soak, chosen.at_once, chosen.kill_every, chosen.victim)
            else:
                print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
                good = all(
                    [together(url, mix, chosen.requests, chosen.at_once) for mix in chosen.mix or ("tasks", "media")]
                )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
