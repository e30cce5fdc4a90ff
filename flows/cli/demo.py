"""The demo: the whole pipeline at a small size, then one generation of each kind and one request to the server."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import io
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from codi2_flows.retrain import retrain
from codi2_model.checkpoints.registry import resolve
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

RECIPE, CONFIG = "demo", "demo"
TASKS = ("text_to_image", "image_editing", "exemplar_learning", "text_to_audio", "image_captioning")
DRAWN = ("text_to_image", "image_editing")


def run_demo(root: str, workers: int) -> None:
    """Build, train, evaluate and serve one request; print the results and where they are."""
    from codi2_flows.cli.output.metrics import show_metrics
    from codi2_flows.cli.output.tables import show
    from codi2_flows.generate_batch import generate_batch
    from codi2_model.evaluation.report.figures import main_rows

    summary = retrain(RECIPE, CONFIG, root, workers)
    store = Store(root)
    requests = demo_requests(store, summary["build"])
    generations = generate_batch(str(requests), str(requests.parent), None, root)
    reply = ask_server(root, requests)
    samples = Catalog(root).sql(
        "select task, split, count(*) as samples from samples group by all order by all", build=summary["build"]
    )
    print("\nDataset")
    show(samples.to_pylist(), samples.column_names)
    print("\nHeld-out metrics with baselines")
    show_metrics(main_rows(summary["metrics"]))
    print("\nReply of the server to a request with an image")
    print(f"  {reply}")
    folder = Path(summary["checkpoint"]).parent
    sheets = {row["task"]: f"evaluations/{row['run_id']}/contact_sheet.png" for row in summary["metrics"]}
    print("\nHeld-out prompts, outputs and truths, chosen by seed")
    for task in DRAWN:
        print(f"  {task:<30} {store.uri(sheets[task])}")
    show_sheet(store, sheets[DRAWN[0]])
    print("\nWhere to look")
    for name, path in {
        "loss curves": folder / "loss.png",
        "contact sheets of the dataset": store.uri(f"builds/{summary['build']}/sheets"),
        "evaluation page": summary["page"],
        "generations": generations,
    }.items():
        print(f"  {name:<30} {path}")
    print(f"\ndecision   {summary['decision']}")
    print(f"checkpoint {summary['checkpoint']}")
    print(f"build      {summary['build']}")


def demo_requests(store: Store, build_id: str) -> Path:
    """Write one held-out sample of each task of `TASKS` as a request, media inline, without its reply. Returns the file."""
    from codi2_datasets.publishing.contact_sheets import read_samples
    from codi2_model.serving.batch.request_files import from_sample

    folder = Path(store.local_path("") or ".") / "generations" / f"demo-{build_id}"
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for task in TASKS:
        rows = (
            Catalog(store)
            .sql(
                "select shard from samples where task = ? and split = 'test' order by shard limit 1",
                [task],
                build=build_id,
            )
            .to_pylist()
        )
        if not rows:
            continue
        sample, media = read_samples(store.read_bytes(rows[0]["shard"]), 1, seed=0)[0]
        messages = from_sample(sample, {f"{sample.sample_id}.{name}": data for name, data in media.items()})["messages"]
        modalities = sorted({part.type for part in sample.messages[-1].content} - {"text"}) or ["text"]
        request = {"id": f"{task}-{sample.sample_id[:8]}", "messages": messages, "modalities": modalities}
        lines.append(json.dumps({**request, "seed": sample.seed}, ensure_ascii=False))
    path = folder / "requests.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def ask_server(root: str, requests: Path) -> str:
    """Start a server, send it the request with an image, stop it. Returns a description of the reply."""
    from codi2_model.serving.deploy.app import serve

    lines = [json.loads(line) for line in requests.read_text(encoding="utf-8").splitlines()]
    request = next(line for line in lines if line["id"].startswith("image_editing"))
    body = {key: request[key] for key in ("messages", "seed", "modalities")}
    server = serve(resolve(root, None), port=0, blocking=False, model_id="codi2")
    assert server is not None  # serve() returns a server if blocking=False
    with server:
        data = json.dumps({"model": "codi2", "content_format": "list", **body}).encode()
        call = urllib.request.Request(f"{server.url}/v1/chat/completions", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(call, timeout=120) as response:
            content = json.load(response)["choices"][0]["message"]["content"]
    return "; ".join(describe(part) for part in content)


def show_sheet(store: Store, name: str) -> None:
    """Draw a sheet in the terminal, if the terminal shows images and is not limited to half blocks."""
    from PIL import Image

    from codi2_model.serving.terminal.graphics import drawn, protocol

    way = protocol(terminal=sys.stdout.isatty())
    if way != "blocks":
        print(drawn(Image.open(io.BytesIO(store.read_bytes(name))), way))


def describe(part: dict[str, Any]) -> str:
    if part["type"] == "text":
        return f"text {part['text']!r}"
    return f"{part['type']} ({len(json.dumps(part)):,} characters)"


if __name__ == "__main__":
    run_demo(sys.argv[1] if len(sys.argv) > 1 else "./data", 2)
