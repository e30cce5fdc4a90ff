"""`codi2 evaluate` with its suites and its report, as people run it: on a tiny checkpoint and a build of words alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from codi2_datasets.formats.sample import Message, Part, Sample
from codi2_flows.cli.main import run
from codi2_flows.cli.model import evaluate
from codi2_storage.commits.manifests import Writer
from codi2_storage.host.shutdown import Stopping
from codi2_storage.store import Store


def codi2(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "codi2_flows.cli.main", *arguments]
    quiet = {**os.environ, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=quiet)


def asked(number: int, split: str) -> Sample:
    messages = (
        Message("user", (Part("text", f"Which number is {number}?"),)),
        Message("assistant", (Part("text", f"Number {number}.", target=True),)),
    )
    return Sample(
        f"{split}{number:03d}",
        "text_instruction",
        split,
        messages,
        "CC0-1.0",
        number,
        "concept",
        {"family": f"n{number}"},
    )  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("words")
    rows, parts = [], []
    for split in ("train", "test"):
        samples = [asked(number, split) for number in range(6)]
        shard = f"shards/text_instruction/{split}.tar"
        (root / shard).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(root / shard, "w") as tar:
            for sample in samples:
                info = tarfile.TarInfo(f"{sample.sample_id}.json")
                info.size = len(sample.to_json().encode())
                tar.addfile(info, BytesIO(sample.to_json().encode()))
                about = {"build_id": "b1", "sample_id": sample.sample_id}
                told = {"holdout": "concept", "shard": shard, "meta": json.dumps(sample.meta)}
                rows.append({**about, "task": sample.task, "split": split, **told})
                for turn, message in enumerate(sample.messages):
                    words = {"modality": "text", "text": message.content[0].text, "role": message.role}
                    parts.append({**about, "turn": turn, "position": turn, **words})
    with Writer(Store(str(root)), "b1", "build", info={"created_at": "2026-01-01"}) as writer:
        writer.append("samples", rows)
        writer.append("parts", parts)
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    from codi2_model import CoDi2Config, CoDi2ForConditionalGeneration, CoDi2Processor

    config = CoDi2Config.preset("tiny", vocab_size=400, modalities=["image"])
    processor = CoDi2Processor.build(config, texts=["Which number is 1? Number 1."] * 8)
    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    CoDi2ForConditionalGeneration(processor.config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def test_the_open_suite_prints_its_table_and_the_report_is_drawn_from_it(
    root: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception, match="run `codi2 evaluate` first"):
        evaluate(checkpoint, root=str(root), report=str(tmp_path / "early"))
    ran = codi2("evaluate", checkpoint, "--root", str(root), "--suite", "open", "--limit", "4")
    assert ran.returncode == 0, ran.stderr
    assert "leak check: test_targets_in_train 0 of 0" in ran.stderr
    assert "token_f1" in ran.stdout and "nearest_train" in ran.stdout and "copy_input" not in ran.stdout
    page = Path(ran.stdout.strip().splitlines()[-1])
    assert page.name == "overview.html" and page.is_file()
    evaluate(checkpoint, root=str(root), report=str(tmp_path / "out"))
    card = Path(capsys.readouterr().out.strip().splitlines()[-1])
    assert "| text_instruction |" in card.read_text() and (card.parent / "worst" / "text_instruction.webp").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--suite", "nope"],
            "--suite nope: no such suite; known: quick, open, audiocaps, audit, cobsat, coco30k, dreambench",
        ),
        (
            ["--suite", "dreambench"],
            "suite dreambench needs --data (a folder with its data) and --weights (a folder with its judges' weights)",
        ),
    ],
)
def test_bad_usage_is_one_line(
    root: Path, checkpoint: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(["evaluate", checkpoint, "--root", str(root), *arguments], Stopping())
    said = capsys.readouterr().err
    assert status == 2 and message in said and "Traceback" not in said
