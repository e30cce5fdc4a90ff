"""Batch generation: a file of requests in the API's own format -> media, a page, and rows in `generations`.

Each reply is kept in a file of its own as soon as it is made, so that a rerun makes only those that are missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codi2_datasets.identity import digest
from codi2_datasets.progress import progress
from codi2_model.checkpoints import UsageError, resolve, weights_digest
from codi2_model.evaluation.outputs import GenerationItem, write_generations
from codi2_model.serving.engine import Engine
from codi2_model.serving.media import Limits
from codi2_model.serving.protocol import ChatRequest, Reply, RequestError, content_to_json, parse_request
from codi2_storage.manifests import Writer
from codi2_storage.store import Store

MODEL_ID = "codi2"
BATCH = 16


@dataclass(frozen=True)
class Line:
    """One request of the file: parsed, or the reason why it cannot be."""

    id: str
    request: ChatRequest | None
    asked: str = ""  # hash of the whole request: a changed one under the same id is asked anew
    reason: str = ""


def read_requests(path: str) -> Iterator[Line]:
    """The requests of a JSONL file, in order. `id` is optional: the line's number stands in for it."""
    file = Store(path)
    if not file.exists(""):
        raise UsageError(f"{path}: no such file of requests")
    for number, line in enumerate(file.read_bytes("").splitlines(), 1):
        if not line.strip():
            continue
        identity = f"line-{number}"
        try:
            data = json.loads(line)
            identity = str(data.pop("id", identity))
            request = parse_request(json.dumps({**data, "model": MODEL_ID}).encode(), MODEL_ID, Limits())
            yield Line(identity, request, digest([identity, data]))
        except (ValueError, AttributeError) as error:
            yield Line(identity, None, reason=f"{Path(path).name}:{number}: {error}")


def generate_requests(requests: str, out: str, checkpoint: str | None, root: str) -> str:
    """Answer every request that has no reply yet under `out`. Returns the page's URI."""
    folder = resolve(root, checkpoint)
    lines = list(read_requests(requests))
    names = [line.id for line in lines]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{requests}: two requests have the id {doubled[0]!r}")
    store, weights = Store(out), weights_digest(folder)[:16]
    replies: dict[str, dict[str, Any]] = {}
    todo = [line for line in lines if line.request and not store.exists(reply_path(weights, line))]
    if todo:
        engine = Engine(folder, MODEL_ID)
        with progress("generate", len(todo), "requests") as advance:
            for batch in (todo[n : n + BATCH] for n in range(0, len(todo), BATCH)):
                answers = engine.complete([line.request for line in batch if line.request])
                for line, answer in zip(batch, answers, strict=True):
                    store.write_bytes(reply_path(weights, line), json.dumps(reply_row(line.id, answer)).encode())
                advance(len(batch))
    for line in lines:
        failed = {"status": "failed", "reason": line.reason}
        replies[line.id] = json.loads(store.read_bytes(reply_path(weights, line))) if line.request else failed
    page = write_page(store, lines, replies)
    rows = [
        {"request_id": line.id, "checkpoint_id": weights, "seed": line.request.settings.seed if line.request else None}
        | {"status": replies[line.id]["status"], "reason": replies[line.id].get("reason"), "uri": page}
        for line in lines
    ]
    identity = digest([weights, store.uri(), names])[:16]
    with Writer(Store(root), f"generate-{identity}", "generation") as writer:
        writer.append("generations", rows)
    return page


def reply_path(weights: str, line: Line) -> str:
    return f"replies/{weights}/{line.asked[:24]}.json"


def reply_row(identity: str, answer: Reply | RequestError) -> dict[str, Any]:
    if isinstance(answer, RequestError):
        return {"id": identity, "status": "failed", "reason": str(answer)}
    return {"id": identity, "status": "done", "content": content_to_json(answer.content), "usage": answer.usage()}


def write_page(store: Store, lines: list[Line], replies: dict[str, dict[str, Any]]) -> str:
    """Media files, page and contact sheet of every reply that was made, failed ones with their reason."""
    import tempfile

    items = []
    for line in lines:
        reply = replies[line.id]
        prompt = line.request.messages if line.request else []
        items.append(
            GenerationItem(
                line.id, "generation", prompt, as_values(reply.get("content", [])), None, reply.get("reason", "")
            )
        )
    local = store.local_path("")
    if local:
        return str(write_generations(local.rstrip("/"), items).page)
    with tempfile.TemporaryDirectory(prefix="codi2-generate-") as made:
        write_generations(made, items)
        for file in sorted(path for path in Path(made).rglob("*") if path.is_file()):
            store.write_bytes(str(file.relative_to(made)), file.read_bytes())
    return store.uri("index.html")


def as_values(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A reply's JSON as parts with values again, the way a request's parts are read."""
    if not content:
        return []
    said = [
        part if part["type"] != "audio" else {"type": "input_audio", "input_audio": part["audio"]} for part in content
    ]
    body = json.dumps({"messages": [{"role": "user", "content": said}]}).encode()
    return parse_request(body, MODEL_ID, Limits()).messages[0]["content"]
