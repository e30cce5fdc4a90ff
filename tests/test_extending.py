"""docs/extending.md: the examples of the page, installed as a package of their own, work without a change of this project."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from codi2_datasets import build as library
from codi2_datasets.connectors import connectors
from codi2_datasets.corpora import corpora
from codi2_datasets.exports import formats
from codi2_datasets.exports.base import Reading
from codi2_datasets.exports.exporting import export, import_folder
from codi2_datasets.exports.webdataset import read_tar
from codi2_datasets.operators import operators
from codi2_datasets.tasks import planners
from codi2_datasets.transforms import transforms
from codi2_model.evaluation.suites import SuiteError, suites
from codi2_model.evaluation.suites.networks import Networks
from codi2_model.evaluation.suites.running import row_of
from codi2_storage.catalog.catalog import Catalog

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
REGISTRIES = (corpora, connectors, operators, transforms, planners, formats, suites)


class Block(NamedTuple):
    language: str
    title: str
    code: str


BLOCKS = [
    Block(*found) for found in re.findall(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', TEXT, re.MULTILINE | re.DOTALL)
]
MODULES = [block for block in BLOCKS if block.language == "python" and "/" in block.title]


def script(title: str) -> str:
    [code] = [block.code for block in BLOCKS if block.title == title]
    return code


def entry_points() -> str:
    """The entry points of the page's modules, as TOML."""
    groups: dict[str, list[str]] = {}
    for block in MODULES:
        folder = Path(block.title).parent
        kind = {"families": "encoders", "pipelines": "decoders"}.get(folder.name, folder.name)
        [attribute] = re.findall(r"^([A-Z]+) = ", block.code, re.MULTILINE)[-1:]
        stem = Path(block.title).stem
        groups.setdefault(kind, []).append(f'{stem} = "codi2_examples.{stem}:{attribute}"')
    return "\n".join(
        line for kind, lines in groups.items() for line in (f'[project.entry-points."codi2.{kind}"]', *lines)
    )


def install_examples(home: Path) -> Path:
    """Install the page's modules as the package `codi2-examples`. Returns the folder for sys.path."""
    source, site = home / "examples", home / "site"
    (source / "codi2_examples").mkdir(parents=True)
    for block in MODULES:
        (source / "codi2_examples" / Path(block.title).name).write_text(block.code, encoding="utf-8")
    (source / "codi2_examples" / "__init__.py").touch()
    head = '[project]\nname = "codi2-examples"\nversion = "1.2"\n[tool.setuptools]\npackages = ["codi2_examples"]\n'
    (source / "pyproject.toml").write_text(head + entry_points(), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", str(site), str(source)], check=True)
    return site


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with the page's data, the package of its examples, and registries that were read with it."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("CODI2_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        patch.syspath_prepend(str(install_examples(folder)))
        for registry in REGISTRIES:
            registry.cache_clear()
        exec(compile(script("make_examples.py"), "make_examples.py", "exec"), {"__name__": "examples"})
        yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "codi2_examples"]:
        del sys.modules[name]
    for registry in REGISTRIES:
        registry.cache_clear()


@pytest.fixture(scope="module")
def root(home: Path) -> str:
    """A build of the page's recipe: all blocks `shapes.yaml`, one added to the other."""
    recipe: dict[str, Any] = {}
    for block in BLOCKS:
        for key, value in yaml.safe_load(block.code).items() if block.title == "shapes.yaml" else ():
            old = recipe.get(key)
            recipe[key] = old + value if isinstance(old, list) else old | value if isinstance(old, dict) else value
    (home / "shapes.yaml").write_text(yaml.safe_dump(recipe))
    built = library.build(library.Settings(str(home / "shapes.yaml"), str(home / "root"), workers=1))
    assert built.fresh and not built.missing
    return str(home / "root")


def rows(root: str, query: str) -> list[dict[str, Any]]:
    return Catalog(root).sql(query).to_pylist()


def test_the_page_has_an_example_of_every_part() -> None:
    folders = {Path(block.title).parent.as_posix() for block in MODULES}
    assert folders == {
        "datasets/corpora", "datasets/connectors", "datasets/operators", "datasets/transforms", "datasets/tasks",
        "datasets/exports", "codi2_model/encoders/families", "codi2_model/decoders/pipelines", "codi2_model/evaluation/suites",
    }  # fmt: skip


@pytest.mark.parametrize("block", MODULES, ids=lambda block: Path(block.title).stem)
def test_an_example_has_at_most_60_lines(block: Block) -> None:
    assert len(block.code.splitlines()) <= 60


def test_the_command_line_lists_every_part_with_its_package(home: Path) -> None:
    command = [sys.executable, "-m", "codi2_flows.cli.main", "plugins", "--json"]
    python_path = os.pathsep.join([str(home / "site"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": python_path}, capture_output=True, check=True)
    parts = json.loads(done.stdout)
    ours = {(part["kind"], part["name"]) for part in parts if part["from"] == "codi2-examples 1.2"}
    assert len(ours) == len(MODULES)
    assert {("corpora", "shapes"), ("encoders", "dinov2"), ("decoders", "dense"), ("suites", "colours")} <= ours
    built_in = {part["name"]: part["from"] for part in parts if part["kind"] == "encoders"}
    assert built_in["clip"] == "codi2_model.encoders.families.clip"


def test_a_build_ingests_the_corpus_and_rejects_its_missing_file(root: str) -> None:
    found = rows(root, "select locator, licence from source_rows where corpus = 'shapes'")
    assert len(found) == 18 and {row["licence"] for row in found} == {"CC0-1.0"}
    reasons = rows(root, "select reason from rejects where stage = 'ingest' and subject like 'shapes:%'")
    assert [row["reason"] for row in reasons] == ["no file missing.png"]
    assert (
        rows(root, "select count(*) as n from samples where task = 'text_to_image' and split = 'train'")[0]["n"] == 20
    )


def test_a_build_reads_the_connectors_files(root: str) -> None:
    found = rows(root, "select locator, author from source_rows where corpus = 'flowers' order by 1")
    assert len(found) == 4 and {row["author"] for row in found} == {"Ada"}
    assert len(rows(root, "select * from rejects where stage = 'ingest' and subject like 'flowers:%'")) == 1


def test_the_operator_measures_a_grey_image_as_zero_and_the_filter_rejects_it(root: str) -> None:
    measure = operators()["colourfulness"].measure
    grey = np.full((8, 8, 3), 90, np.uint8)
    red = grey * np.array([1, 0, 0], np.uint8)
    assert measure(grey) == {"colourfulness": 0.0} and float(measure(red)["colourfulness"]) > 20  # type: ignore[arg-type]
    [reject] = rows(root, "select score, threshold from rejects where reason = 'grey'")
    assert reject["score"] < reject["threshold"] == 1


def test_the_transform_mirrors_pixels() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    make = transforms()["mirror"].make
    assert make([image], {"axis": "horizontal"}).tobytes() == image[:, ::-1].tobytes()
    assert make([image], {"axis": "vertical"}).tobytes() == image[::-1].tobytes()
    with pytest.raises(ValueError, match="diagonal"):
        make([image], {"axis": "diagonal"})


def test_the_task_is_planned_and_its_targets_are_the_mirrored_queries(root: str) -> None:
    assert len(rows(root, "select * from samples where task = 'mirroring' and split = 'train'")) == 20
    parts = rows(
        root,
        "select sample_id, icl_role from parts join samples using (sample_id) where task = 'mirroring' and asset_id is not null",
    )
    assert {row["icl_role"] for row in parts} == {"query", "target"}
    [shard] = rows(root, "select shard from shards where task = 'mirroring' and split = 'train'")
    for item in read_tar(f"{root}/{shard['shard']}", shard["shard"]):
        query, target = (
            np.asarray(Image.open(io.BytesIO(item.media[part.part or ""])))
            for part in item.sample.parts() if part.part is not None
        )  # fmt: skip
        axis = {"vertical": 0, "horizontal": 1}[item.sample.meta["axis"]]
        assert np.array_equal(target, np.flip(query, axis))


def test_the_export_writes_files_that_its_import_reads(root: str, tmp_path: Path) -> None:
    total = rows(root, "select count(*) as n from samples")[0]["n"]
    loss = export(root, None, "chat_jsonl", str(tmp_path / "chat"))
    lines = (tmp_path / "chat" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    told = json.loads(lines[0])["messages"]
    files = [part["file"] for message in told for part in message["content"] if part["type"] == "image"]
    assert files and all((tmp_path / "chat" / file).stat().st_size for file in files)
    names = [
        file.relative_to(tmp_path / "chat").as_posix() for file in (tmp_path / "chat").rglob("*") if file.is_file()
    ]
    ours = re.compile(formats()["chat_jsonl"].files)
    assert [name for name in names if not ours.fullmatch(name) and name not in ("loss.json", "ATTRIBUTION")] == []
    back = import_folder(str(tmp_path / "chat"), "chat_jsonl", str(tmp_path / "shards"), Reading())
    assert loss.written == back.written == total and loss.lost["asset id"] and not loss.left_out
    export(root, None, "chat_jsonl", str(tmp_path / "chat"))  # replaces its own files


def test_the_encoder_reads_weights_and_gives_features(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import Dinov2Config, Dinov2Model

    shape = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14)
    torch.manual_seed(0)
    published = Dinov2Model(shape)
    published.save_pretrained(home / "dinov2-folder")
    space: dict[str, Any] = {}
    exec(compile(script("try_dinov2.py"), "try_dinov2.py", "exec"), space)
    assert "torch.Size([2, 1, 32])" in capsys.readouterr().out
    family = space["model"].encoders.families["dinov2"]
    assert torch.equal(family.model.layernorm.weight, published.layernorm.weight)
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    clip = images[:, :, None].expand(-1, -1, 3, -1, -1)
    assert torch.allclose(family.features("video", clip, 1), family.features("image", images, 1), atol=1e-5)


def test_the_decoder_has_a_loss_and_draws_and_is_saved(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space: dict[str, Any] = {}
    exec(compile(script("try_dense.py"), "try_dense.py", "exec"), space)
    assert "torch.Size([2, 3, 32, 32])" in capsys.readouterr().out
    model, images = space["model"], space["images"]
    assert float(images.min()) >= 0 and float(images.max()) <= 1
    space["loss"].backward()
    assert all(weight.grad is not None for weight in model.decoders["image"].network.parameters())
    model.save_pretrained(home / "dense")
    again = type(model).from_pretrained(home / "dense")
    assert torch.equal(again.decoders["image"].network[0].weight, model.decoders["image"].network[0].weight)


def test_the_suite_is_registered_and_its_measure_is_computed(home: Path) -> None:
    suite = suites()["colours"]
    asked = suite.requests(home / "prompts", None, 0)
    assert [request.key for request in asked] == ["blue", "green", "red"]
    answers = [Image.new("RGB", (8, 8), "blue"), Image.new("RGB", (8, 8), "black"), None]
    [figure] = suite.score(home / "prompts", asked, answers, Networks(home))
    assert figure.scores is not None and figure.scores["blue"] == 0 and figure.scores["green"] == 128
    row = row_of(suite, figure, 0)
    assert (
        row["suite"] == "published:colours"
        and row["n"] == 3
        and row["value"] == pytest.approx((128 + 255 * 3**0.5) / 3)
    )
    (home / "broken").mkdir()
    (home / "broken" / "prompts.jsonl").write_text('{"id": 1, "prompt": "red"}\n')
    with pytest.raises(SuiteError, match="row 1: colour"):
        suite.requests(home / "broken", None, 0)
