"""Batch generation: requests in the API's own format -> samples in shards, a page, and rows in `generations`.

    <out>/shards/<number>-<hash>.tar    samples: the request's conversation and the reply; .json beside it says of each row
    <out>/failed.jsonl                  rows that could not be answered, with the reason
    <out>/batch.json                    what the catalog calls the folder, wherever it is moved
    <out>/index.html, contact_sheet.png, media/    the first replies, to look at

Rows go in chunks of fixed size. A chunk's name is the hash of its rows, the weights and the settings; its shard and then its
receipt appear whole. So a rerun after any end makes what is missing and nothing else, and the bytes are the same for any
number of workers, each of which writes chunks of its own.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codi2_datasets.formats.hashing import digest
from codi2_datasets.runtime.progress import progress
from codi2_model.checkpoints.hashing import settings_digest, weights_digest
from codi2_model.checkpoints.registry import resolve
from codi2_model.serving.batch.pages import write_page
from codi2_model.serving.batch.request_files import MODEL_ID, RequestRow, read_requests
from codi2_model.serving.batch.samples import EncodedSample, shard_of, to_sample
from codi2_model.serving.openai.chat_response import Reply
from codi2_model.serving.openai.protocol import ChatRequest, RequestError
from codi2_storage.commits.manifests import Writer, committed
from codi2_storage.locations.uris import relative
from codi2_storage.store import Store

VERSION = "1"
CHUNK_ROWS = 32  # rows of a shard: what a kill costs at most, for each worker
BATCH = 16  # rows generated at once
FAILED = "failed.jsonl"
NAME = "batch.json"  # what the folder is called in the catalog


@dataclass(frozen=True)
class BatchSettings:
    """What a worker must know; small, and goes to other machines."""

    checkpoint: str
    out: str
    weights: str
    settings: str
    """The hash of what decides replies beside the weights: the checkpoint's configuration and vocabulary."""
    seed: int = 0
    split: str = "train"


@dataclass(frozen=True)
class RequestChunk:
    """Rows that become one shard."""

    number: int
    rows: tuple[RequestRow, ...]

    def name(self, run: BatchSettings) -> str:
        what = [VERSION, run.weights, run.settings, run.seed, run.split, BATCH, [row.asked() for row in self.rows]]
        return f"shards/{self.number:05d}-{digest(what)[:16]}"


Distribute = Callable[[BatchSettings, Sequence[RequestChunk], int], Iterable[int]]
"""Has chunks answered, giving the number of rows of each as it is done."""


def generate_requests(
    requests: str,
    out: str,
    checkpoint: str | None,
    root: str,
    workers: int = 1,
    seed: int = 0,
    split: str = "train",
    distribute: Distribute | None = None,
) -> str:
    """Answer every request that has no reply yet under `out`. Returns the page's URI."""
    folder = resolve(root, checkpoint)
    rows = read_requests(requests)
    made_by = weights_digest(folder)[:16], settings_digest(folder)
    run = BatchSettings(str(Path(folder).absolute()), Store(out).uri(), *made_by, seed, split)
    chunks = [RequestChunk(n // CHUNK_ROWS, tuple(rows[n : n + CHUNK_ROWS])) for n in range(0, len(rows), CHUNK_ROWS)]
    store = Store(run.out)
    todo = [chunk for chunk in chunks if not store.exists(f"{chunk.name(run)}.json")]
    if todo:
        with progress("generate", len(rows), "requests") as advance:
            advance(len(rows) - sum(len(chunk.rows) for chunk in todo))
            many = distribute is not None and workers > 1 and len(todo) > 1
            for done in (
                distribute(run, todo, min(workers, len(todo))) if distribute and many else run_locally(run, todo)
            ):
                advance(done)
    receipts = [json.loads(store.read_bytes(f"{chunk.name(run)}.json")) for chunk in chunks]
    answers = [answer for receipt in receipts for answer in receipt["rows"]]
    _forget_others(store, {chunk.name(run) for chunk in chunks})
    _list_failed(store, requests, answers)
    page = write_page(store, rows, receipts)
    _record(root, run, answers, page)
    return page


def run_locally(run: BatchSettings, chunks: Sequence[RequestChunk]) -> Iterator[int]:
    """Answer chunks in this process."""
    worker = Worker(run)
    for chunk in chunks:
        yield worker(chunk)


class Worker:
    """Holds the model and answers chunks. One thread each, so that the bytes do not hang on how many there are."""

    def __init__(self, run: BatchSettings) -> None:
        from codi2_model.serving.scheduler.engine import Engine

        self.run, self.store = run, Store(run.out)
        self.engine = Engine(run.checkpoint, MODEL_ID, threads=1)

    def __call__(self, chunk: RequestChunk) -> int:
        """Write the chunk's shard and receipt. Returns its number of rows."""
        samples: list[EncodedSample] = []
        answers: list[dict[str, Any]] = []
        for start in range(0, len(chunk.rows), BATCH):
            rows = chunk.rows[start : start + BATCH]
            for row, (request, reply) in zip(rows, self._replies(rows), strict=True):
                answers.append(self._answer(row, request, reply, samples))
        name = chunk.name(self.run)
        shard = shard_of(samples)
        receipt = {"shard": f"{name}.tar", "samples": len(samples), "bytes": len(shard), "rows": answers}
        receipt["sha256"] = hashlib.sha256(shard).hexdigest()
        self.store.write_bytes(f"{name}.tar", shard)
        self.store.write_bytes(f"{name}.json", json.dumps(receipt, indent=1).encode(), durable=True)
        return len(chunk.rows)

    def _replies(self, rows: Sequence[RequestRow]) -> list[tuple[ChatRequest | None, Reply | RequestError]]:
        found: dict[int, tuple[ChatRequest | None, Reply | RequestError]] = {}
        good: list[tuple[int, ChatRequest]] = []
        for n, row in enumerate(rows):
            try:
                good.append((n, row.request(self.run.seed, self.engine.modalities)))
            except RequestError as error:
                where = f"{error.param}: " if error.param else ""
                found[n] = (None, RequestError(f"{row.place}: {where}{error}"))
        replies = self.engine.complete([request for _, request in good]) if good else []
        for (n, request), reply in zip(good, replies, strict=True):
            found[n] = (request, reply)
        return [found[n] for n in range(len(rows))]

    def _answer(
        self, row: RequestRow, request: ChatRequest | None, reply: Reply | RequestError, samples: list[EncodedSample]
    ) -> dict[str, Any]:
        """The receipt's word on a row; its sample is added to the shard."""
        seed = row.seed(self.run.seed)
        failed = {"id": row.id, "status": "failed", "seed": seed if 0 <= seed < 2**63 else None, "prompt": ""}
        if request is None or isinstance(reply, RequestError):
            return {**failed, "reason": str(reply), "prompt": prompt_of(request)}
        own = {key: row.data[key] for key in ("task", "licence", "split") if row.data.get(key)}
        about = {"split": self.run.split, **own, "seed": request.settings.seed, "checkpoint": self.run.weights}
        try:
            sample, media = to_sample(row.id, request.messages, reply.content, about)
        except ValueError as error:
            return {**failed, "reason": f"{row.place}: {error}", "prompt": prompt_of(request)}
        samples.append((sample, media))
        done = {"id": row.id, "status": "done", "sample_id": sample.sample_id, "seed": request.settings.seed}
        return {**done, "task": sample.task, "prompt": prompt_of(request), "usage": reply.usage()}


class RayWorker:
    """A worker as Ray Data calls it, here so that its process loads nothing else. Lots travel as bytes: their messages
    are too unlike for columns."""

    def __init__(self, run: BatchSettings) -> None:
        self.worker = Worker(run)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"rows": self.worker(pickle.loads(row["chunk"]))}


def prompt_of(request: ChatRequest | None) -> str:
    """A conversation in a line."""
    if request is None:
        return ""
    parts = [part for message in request.messages for part in message["content"]]
    return " ".join(part["text"].strip() if part["type"] == "text" else f"[{part['type']}]" for part in parts)[:500]


def _forget_others(store: Store, names: set[str]) -> None:
    """Remove chunks of earlier runs whose rows, weights or settings were others: `out` holds each row once."""
    for path in store.list("shards"):
        if path.rpartition(".")[0] not in names:
            store.remove(path)


def _list_failed(store: Store, requests: str, answers: Sequence[dict[str, Any]]) -> None:
    failed = [{"id": a["id"], "reason": a["reason"]} for a in answers if a["status"] == "failed"]
    store.remove(FAILED)
    if failed:
        store.write_bytes(FAILED, "".join(json.dumps(row) + "\n" for row in failed).encode())
        places = store.uri(FAILED)
        print(f"{len(failed):,} of {len(answers):,} requests failed: {places} says why", file=sys.stderr)


def _record(root: str, run: BatchSettings, answers: Sequence[dict[str, Any]], page: str) -> None:
    """Rows of `generations`; a rerun replaces those of the same requests, wherever root and `out` were moved meanwhile."""
    columns = ("sample_id", "status", "reason", "seed", "prompt")
    rows = [
        {"request_id": answer["id"], "checkpoint_id": run.weights, "uri": page}
        | {column: answer.get(column) for column in columns}
        for answer in answers
    ]
    store, ids = Store(root), [answer["id"] for answer in answers]
    names = (digest([run.weights, name, ids])[:16] for name in (run.out, name_of(store, Store(run.out))))
    by_place, identity = (f"generate-{name}" for name in names)
    if committed(store, by_place, "generation"):  # as earlier versions called it
        identity = by_place
    with Writer(store, identity, "generation") as writer:
        writer.append("generations", rows)


def name_of(root: Store, out: Store) -> str:
    """What tells a batch's folder from others: a name it gets when it is first used, and keeps wherever it is moved."""
    if not out.exists(NAME):
        name = digest(relative(root, out.uri()))[:16]
        out.write_bytes(NAME, json.dumps({"batch": name}).encode())
    return str(json.loads(out.read_bytes(NAME))["batch"])
