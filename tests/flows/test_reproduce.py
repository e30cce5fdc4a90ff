"""codi2 reproduce: the same bytes again, or exit status 1 and the place where they differ."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from codi2_datasets import build as library
from codi2_flows.cli.reproduce import reproduce
from codi2_model.checkpoints.export import ship
from codi2_model.checkpoints.registry import promote, record_variant
from codi2_model.training.pipeline_stage import TrainRequest, train_and_record
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

RECIPE = {
    "name": "line",
    "seed": 3,
    "corpora": [{"name": name} for name in ("emoji-noto", "emoji-twemoji", "sonic-pi-samples")],
    "image": {"size": 32},
    "audio": {"max_seconds": 1.0},
    "splits": {"test_concepts": 0.15, "validation_concepts": 0.1},
    "tasks": {task: {"train": 24, "validation": 8} for task in ("text_to_image", "image_captioning", "text_to_audio")},
}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> tuple[str, str, str]:
    """(root, build, checkpoint's URI) of a run of few steps whose config leaves the number of threads open."""
    folder = tmp_path_factory.mktemp("line")
    recipe, config, root = folder / "line.yaml", folder / "test.yaml", str(folder / "root")
    recipe.write_text(yaml.safe_dump(RECIPE))
    said = yaml.safe_load((Path(library.__file__).parents[1] / "codi2_model" / "presets" / "test.yaml").read_text())
    tasks = {"text_to_image": 1, "image_captioning": 1, "text_to_audio": 1}
    for stage in ("align", "decoders", "mllm"):
        said[stage] |= {"steps": 2, "eval_samples": 4, "tasks": tasks}
    config.write_text(yaml.safe_dump(said | {"threads": 0}))
    build = library.build(library.Settings(str(recipe), root, 2, 60)).build_id
    uri = train_and_record(TrainRequest(str(config), root, build))
    promote(
        Store(root),
        Catalog(root).sql("select checkpoint_id from checkpoints").to_pylist()[0]["checkpoint_id"],
        uri,
        "x",
    )
    return root, build, uri


def exit_status(*arguments: str, root: str, workers: int = 1) -> int:
    try:
        reproduce(*arguments, root=root, workers=workers)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_build_comes_out_identical_and_a_tampered_shard_is_named(
    line: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    root, build, _ = line
    assert exit_status(build[:6], root=root) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"identical: build {build}"
    shard = Catalog(root).sql("select shard from shards order by shard limit 1").to_pylist()[0]["shard"]
    content = (Path(root) / shard).read_bytes()
    place = content.index(b'"schema_version"')
    (Path(root) / shard).write_bytes(content[:place] + b"!" + content[place + 1 :])
    assert exit_status("latest", root=root) == 1
    told = capsys.readouterr().out
    (Path(root) / shard).write_bytes(content)
    assert shard in "".join(told.split()) and told.splitlines()[-1] == f"different: build {build}"


def test_a_checkpoint_comes_out_identical_even_where_its_shards_are_gone(
    line: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    root, _, _ = line
    row = Catalog(root).sql("select threads, device from runs where kind = 'train'").to_pylist()[0]
    assert row == {"threads": 1, "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"}
    shard = Catalog(root).sql("select shard from shards where split = 'train' limit 1").to_pylist()[0]["shard"]
    content = (Path(root) / shard).read_bytes()
    (Path(root) / shard).unlink()
    assert exit_status("promoted", root=root) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("identical: checkpoint")
    (Path(root) / shard).write_bytes(content)


@pytest.mark.slow
def test_weights_made_small_come_out_identical_and_other_ones_do_not(
    line: tuple[str, str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    root, _, uri = line
    small = ship(uri, tmp_path / "small")
    variant = record_variant(Store(root), uri, small, str(small))
    assert exit_status(str(small), root=root) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"identical: checkpoint {variant}"
    file = next(small.glob("*.safetensors"))
    weights = load_file(file)
    name = sorted(weights)[3]
    save_file({**weights, name: weights[name] + 0.25}, file, {"format": "pt"})
    assert exit_status(variant, root=root) == 1
    assert f"{name} differs" in " ".join(capsys.readouterr().out.split())


def test_what_the_catalog_does_not_know_is_bad_usage(line: tuple[str, str, str]) -> None:
    command = [sys.executable, "-m", "codi2_flows.cli.main", "reproduce", "nope", "--root", line[0]]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2 and "no build or checkpoint of that name" in result.stderr
