"""Batch generation: requests in the format of the API in; samples in shards, a page and rows in `generations` out.

    <out>/shards/<number>-<hash>.tar    samples: the conversation of the request and the reply
    <out>/shards/<number>-<hash>.json   receipt: the outcome of each row
    <out>/failed.jsonl                  rows that failed, with the reason
    <out>/batch.json                    name of the folder in the catalog, which stays when the folder is moved
    <out>/index.html, contact_sheet.png, media/    page with the first replies

Rows are answered in chunks of fixed size. The name of a chunk is the hash of its rows, the weights and the settings. Its
shard, and then its receipt, are written atomically. A rerun therefore makes only missing chunks, and the bytes are the same
for any number of workers.
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
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.protocol import ChatRequest
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store
from codi2_storage.uris import relative

VERSION = "1"
CHUNK_ROWS = 32  # rows of a shard: the most that each worker loses if it is killed
BATCH = 16  # rows that are generated together
FAILED = "failed.jsonl"
NAME = "batch.json"  # holds the name of the folder in the catalog


@dataclass(frozen=True)
class BatchSettings:
    """The settings of a batch, which are sent to workers on other machines."""

    checkpoint: str
    out: str
    weights: str
    settings: str
    """Hash of the checkpoint's configuration and vocabulary, which determine replies together with the weights."""
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
"""Answers chunks on workers, and yields the number of rows of each finished chunk."""


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
    """Answer every request that has no reply in `out` yet. Returns the URI of the page.

    `distribute` answers chunks on several workers; without it they are answered in this process.
    """
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
    """Answer chunks in this process. Yields the number of rows of each."""
    worker = Worker(run)
    for chunk in chunks:
        yield worker(chunk)


class Worker:
    """Loads the model and answers chunks. It uses one thread, so that the bytes do not depend on the number of threads."""

    def __init__(self, run: BatchSettings) -> None:
        from codi2_model.serving.scheduler.engine import Engine

        self.run, self.store = run, Store(run.out)
        self.engine = Engine(run.checkpoint, MODEL_ID, threads=1)

    def __call__(self, chunk: RequestChunk) -> int:
        """Answer a chunk and write its shard and receipt. Returns its number of rows."""
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
        replies_by_row: dict[int, tuple[ChatRequest | None, Reply | RequestError]] = {}
        valid: list[tuple[int, ChatRequest]] = []
        for n, row in enumerate(rows):
            try:
                valid.append((n, row.request(self.run.seed, self.engine.modalities)))
            except RequestError as error:
                where = f"{error.param}: " if error.param else ""
                replies_by_row[n] = (None, RequestError(f"{row.place}: {where}{error}"))
        replies = self.engine.complete([request for _, request in valid]) if valid else []
        for (n, request), reply in zip(valid, replies, strict=True):
            replies_by_row[n] = (request, reply)
        return [replies_by_row[n] for n in range(len(rows))]

    def _answer(
        self, row: RequestRow, request: ChatRequest | None, reply: Reply | RequestError, samples: list[EncodedSample]
    ) -> dict[str, Any]:
        """The entry of a row in the receipt. Its sample is appended to `samples`."""
        seed = row.seed(self.run.seed)
        failed = {"id": row.id, "status": "failed", "seed": seed if 0 <= seed < 2**63 else None, "prompt": ""}
        if request is None or isinstance(reply, RequestError):
            return {**failed, "reason": str(reply), "prompt": prompt_of(request)}
        own = {key: row.data[key] for key in ("task", "licence", "split") if row.data.get(key)}
        fields = {"split": self.run.split, **own, "seed": request.settings.seed, "checkpoint": self.run.weights}
        try:
            sample, media = to_sample(row.id, request.messages, reply.content, fields)
        except ValueError as error:
            return {**failed, "reason": f"{row.place}: {error}", "prompt": prompt_of(request)}
        samples.append((sample, media))
        done = {"id": row.id, "status": "done", "sample_id": sample.sample_id, "seed": request.settings.seed}
        return {**done, "task": sample.task, "prompt": prompt_of(request), "usage": reply.usage()}


class RayWorker:
    """A worker with the interface of Ray Data. Chunks are pickled, because their messages do not fit into columns.

    It is in this module, so that the process of the actor imports nothing else.
    """

    def __init__(self, run: BatchSettings) -> None:
        self.worker = Worker(run)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"rows": self.worker(pickle.loads(row["chunk"]))}


def prompt_of(request: ChatRequest | None) -> str:
    """A conversation as one line of text, with media as `[image]` and the like."""
    if request is None:
        return ""
    parts = [part for message in request.messages for part in message["content"]]
    return " ".join(part["text"].strip() if part["type"] == "text" else f"[{part['type']}]" for part in parts)[:500]


def _forget_others(store: Store, names: set[str]) -> None:
    """Remove chunks of earlier runs with other rows, weights or settings, so that `out` has each row once."""
    for path in store.list("shards"):
        if path.rpartition(".")[0] not in names:
            store.remove(path)


def _list_failed(store: Store, requests: str, answers: Sequence[dict[str, Any]]) -> None:
    failed = [{"id": a["id"], "reason": a["reason"]} for a in answers if a["status"] == "failed"]
    store.remove(FAILED)
    if failed:
        store.write_bytes(FAILED, "".join(json.dumps(row) + "\n" for row in failed).encode())
        print(f"{len(failed):,} of {len(answers):,} requests failed; reasons: {store.uri(FAILED)}", file=sys.stderr)


def _record(root: str, run: BatchSettings, answers: Sequence[dict[str, Any]], page: str) -> None:
    """Write rows of `generations`. They replace those of earlier runs, also if the root or `out` was moved."""
    columns = ("sample_id", "status", "reason", "seed", "prompt")
    rows = [
        {"request_id": answer["id"], "checkpoint_id": run.weights, "uri": page}
        | {column: answer.get(column) for column in columns}
        for answer in answers
    ]
    store, ids = Store(root), [answer["id"] for answer in answers]
    identity = digest([run.weights, name_of(store, Store(run.out)), ids])[:16]
    with Writer(store, f"generate-{identity}", "generation") as writer:
        writer.append("generations", rows)


def name_of(root: Store, out: Store) -> str:
    """The name of a batch's folder, which is assigned at the first use and stays when the folder is moved."""
    if not out.exists(NAME):
        name = digest(relative(root, out.uri()))[:16]
        out.write_bytes(NAME, json.dumps({"batch": name}).encode())
    return str(json.loads(out.read_bytes(NAME))["batch"])
