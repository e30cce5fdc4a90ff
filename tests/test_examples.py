"""examples/: the notebooks run from top to bottom, and the scripts do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the notebooks write; they share the toy build."""
    return tmp_path_factory.mktemp("examples")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    import nbformat

    monkeypatch.setenv("CODI2_EXAMPLES", str(home))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")]))
    book = nbformat.read(notebook, as_version=4)
    nbclient.NotebookClient(
        book, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(home)}}
    ).execute()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(notebook: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    assert cells and not any(cell.outputs or cell.execution_count for cell in cells)


def run_script(name: str, folder: Path, *arguments: str) -> str:
    """The output of a script, run in a folder."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_client_example_speaks_with_the_api(served: Any, tmp_path: Path) -> None:
    from codi2_model.checkpoints.registry import resolve
    from codi2_model.serving.deploy.settings import ServerSettings
    from codi2_model.serving.http.api import build_api
    from codi2_model.serving.scheduler.engine import Engine
    from codi2_model.serving.scheduler.pipeline import Pipeline

    engine = Engine(resolve(str(tmp_path / "root"), "shipped"), "codi2", threads=1)
    backend = Pipeline(engine, ServerSettings())
    with served(build_api(backend, sizes=lambda: {"image": 128})) as url:
        output = run_script("openai_client.py", tmp_path, f"{url}/v1")
    backend.close()
    assert all(word in output for word in ("text:", "image: apple.png", "edit: edited.png", "stream:"))
    assert (tmp_path / "apple.png").read_bytes()[:4] == (tmp_path / "edited.png").read_bytes()[:4] == b"\x89PNG"


def test_the_batch_example_reads_its_replies_back(tmp_path: Path) -> None:
    output = run_script("batch.py", tmp_path, str(tmp_path))
    assert "apple ['image 001.webp']" in output and "hello [" in output
