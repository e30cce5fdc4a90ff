"""The house rules: who may import whom, and whose name `datasets` is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "storage": "codi2_storage",
    "datasets": "codi2_datasets",
    "codi2_model": "codi2_model",
    "flows": "codi2_flows",
}
RAY_PLACES = {
    "datasets/runtime/ray_executor.py",
    "codi2_model/training/ray_train.py",
    "codi2_model/serving/deploy/app.py",
    "codi2_model/serving/deploy/deployments.py",
}


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("folder", FLOORS)
def test_no_import_runs_upward(folder: str) -> None:
    names = list(FLOORS.values())
    above = set(names[names.index(FLOORS[folder]) + 1 :])
    wrong = {str(file): imports(file) & above for file in (ROOT / folder).rglob("*.py") if imports(file) & above}
    assert not wrong


def test_prefect_is_imported_in_flows_alone_and_ray_in_named_places() -> None:
    files = [file for folder in ("storage", "datasets", "codi2_model") for file in (ROOT / folder).rglob("*.py")]
    assert not [file for file in files if "prefect" in imports(file)]
    ray = {str(file.relative_to(ROOT)) for file in files if "ray" in imports(file)}
    assert ray <= RAY_PLACES


@pytest.mark.parametrize("folder", ["flows", "datasets", "storage"])
def test_folders_that_would_shadow_a_name_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_hugging_face_datasets_imports_as_itself_from_the_repository_root() -> None:
    code = "import datasets; print(datasets.Dataset.from_dict({'a': [1, 2]}).num_rows, datasets.__file__)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    rows, file = result.stdout.split(maxsplit=1)
    assert rows == "2" and not Path(file.strip()).is_relative_to(ROOT / "datasets")


def test_our_packages_import_from_anywhere(tmp_path: Path) -> None:
    code = "import codi2_storage.store, codi2_datasets.formats.sample, codi2_model, codi2_flows.cli.main"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
