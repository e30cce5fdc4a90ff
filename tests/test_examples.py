"""examples/: the notebooks run from top to bottom, and the scripts do what they say."""

from __future__ import annotations

import os
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


def test_the_client_example_speaks_with_the_api(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    import openai_client

    from codi2_model.checkpoints.registry import resolve
    from codi2_model.serving.deploy.settings import ServerSettings
    from codi2_model.serving.http.api import build_api
    from codi2_model.serving.scheduler.engine import Engine
    from codi2_model.serving.scheduler.pipeline import Pipeline

    engine = Engine(resolve(str(tmp_path / "root"), "shipped"), "codi2", threads=1)
    backend = Pipeline(engine, ServerSettings())
    with served(build_api(backend, sizes=lambda: {"image": 128})) as url:
        openai_client.main(f"{url}/v1")
    backend.close()
    told = capsys.readouterr().out
    assert all(word in told for word in ("text:", "image: apple.png", "edit: edited.png", "stream:"))
    assert (tmp_path / "apple.png").read_bytes()[:4] == (tmp_path / "edited.png").read_bytes()[:4] == b"\x89PNG"
    sys.modules.pop("openai_client")


def test_the_batch_example_reads_its_replies_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import batch

    batch.main(str(tmp_path))
    told = capsys.readouterr().out
    assert "apple ['image 001.webp']" in told and "hello [" in told
    sys.modules.pop("batch")
