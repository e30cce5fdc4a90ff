"""What ran, written by hand into a root that holds the builds `older` and `newer`: trainings, an evaluation, decisions."""

from __future__ import annotations

import json
from typing import Any

from codi2_datasets.media.image import encode_image
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
FIRST, SECOND = "aaaa0000aaaa0000", "bbbb1111bbbb1111"
STAGES = {"preset": "tiny", "mllm": {"steps": 30, "tasks": {"text_to_image": 1}}}


def write_runs(store: Store, pixels: Any) -> None:
    """Two models, the second begun with the first one's weights; it is promoted, a later look at it is not; a run that failed."""
    for number, (checkpoint, build, start) in enumerate(((FIRST, "older", None), (SECOND, "newer", FIRST))):
        run_id = f"train-{number:012x}"
        lines = [
            {"stage": "mllm", "split": split, "step": step, "loss": 3 - step / 20, "tokens": 2.0, "lr": 0.1}
            for step in range(1, 31) for split in ("train", *(["validation"] if step % 10 == 0 else []))
        ]  # fmt: skip
        store.write_bytes(f"runs/{run_id}/metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
        with Writer(store, run_id, "run") as writer:
            about = {"run_id": run_id, "kind": "train", "status": "finished", "build_id": build, "start": start}
            about |= {"config": json.dumps(STAGES), "environment": '{"cores": 2}', "seconds": 65.0, "seed": number}
            writer.append(
                "runs", [{**about, "created_at": f"2026-11-0{number + 1}T10:00:00+00:00", "uri": f"/secret/{run_id}"}]
            )
            row = {"checkpoint_id": checkpoint, "run_id": run_id, "step": 30, "uri": f"/secret/{checkpoint}"}
            writer.append("checkpoints", [row])
    with Writer(store, "retrain-1", "run") as writer:
        failed = {
            "run_id": "retrain-1",
            "kind": "retrain",
            "status": "failed",
            "created_at": "2026-11-03T10:00:00+00:00",
        }
        writer.append("runs", [failed])
    evaluate(store, pixels)
    decide(store, "gate-1", FIRST, None, True, "2026-11-01T11:00:00+00:00")
    decide(store, "gate-2", SECOND, FIRST, True, "2026-11-02T11:00:00+00:00")
    decide(store, "gate-3", SECOND, FIRST, False, "2026-11-02T12:00:00+00:00")
    for checkpoint, since in ((FIRST, "2026-11-01T11:00:00+00:00"), (SECOND, "2026-11-02T11:00:00+00:00")):
        with Writer(store, f"default-{checkpoint}", "deployment") as writer:
            row = {"name": "default", "checkpoint_id": checkpoint, "since": since, "reason": HOSTILE, "uri": "/secret"}
            writer.append("deployments", [row])


def evaluate(store: Store, pixels: Any) -> None:
    store.write_bytes("evaluations/evaluate-1/contact_sheet.png", encode_image(pixels))
    store.write_bytes("evaluations/evaluate-1/index.html", b"<style>h1 { color: red }</style><h1>Every answer</h1>")
    with Writer(store, "evaluate-1", "run") as writer:
        about = {"run_id": "evaluate-1", "kind": "evaluation", "status": "finished", "build_id": "newer"}
        writer.append("runs", [{**about, "created_at": "2026-11-02T10:30:00+00:00"}])
        figure = {
            "run_id": "evaluate-1",
            "checkpoint_id": SECOND,
            "suite": "quick",
            "task": "text_to_image",
            "metric": "concept@1",
        }
        writer.append("metrics", [
            {**figure, "value": 0.5, "low": 0.4, "high": 0.6, "n": 9}, {**figure, "value": 0.1, "baseline": "chance"},
        ])  # fmt: skip


def decide(store: Store, gate: str, candidate: str, champion: str | None, promoted: bool, at: str) -> None:
    about = {"gate_id": gate, "build_id": "newer", "candidate": candidate, "champion": champion, "promoted": promoted}
    about |= {"reason": "figures: better than the one before" if promoted else f"figures: {HOSTILE}", "created_at": at}
    lines = [("chosen", "edit@1", 0.2 if promoted else -0.1, promoted), ("guard", "token_f1", 0.0, True)]
    rows = [
        {**about, "role": role, "metric": metric, "candidate_value": 0.5 + gain, "champion_value": 0.5, "gain": gain,
         "low": gain - 0.05, "high": gain + 0.05, "n": 24, "passed": passed}
        for role, metric, gain, passed in lines
    ]  # fmt: skip
    with Writer(store, gate, "gate") as writer:
        writer.append("gates", rows if champion else [{**about, "passed": True}])
