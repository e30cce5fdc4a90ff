"""Runs and lineage of a root, over the app and in a real browser: with everything in it, with nothing ran, with a run that died."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from codi2_datasets.browse.server import at_home, make_app
from codi2_datasets.browse.static_export import export_static
from codi2_flows.browse.curves import POINTS, thinned
from codi2_flows.browse.views import VIEWS
from codi2_storage.coordination import runs as flow_runs
from codi2_storage.coordination.leases import lease
from codi2_storage.coordination.runs import Run
from codi2_storage.store import Store


def beside(name: str, path: Path) -> Any:
    """A module that no package path leads to."""
    spec = importlib.util.spec_from_file_location(f"_codi2_{name}", path)
    assert spec is not None and spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).parent
RAN, CATALOG = (
    beside("test_ran", HERE / "ran.py"),
    beside("test_kites", HERE.parents[1] / "datasets/browse/test_browse.py"),
)
root = CATALOG.root  # two builds and nothing else


@pytest.fixture(scope="module")
def ran(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ran") / "root"
    Store(str(folder)).put_folder(root, "")
    RAN.write_runs(Store(str(folder)), np.zeros((64, 64, 3), dtype=np.uint8))
    return folder


@pytest.fixture(scope="module")
def client(ran: Path) -> TestClient:
    return TestClient(make_app(str(ran), views=VIEWS))


@pytest.fixture(scope="module")
def address(ran: Path, served: Any) -> Iterator[str]:
    with served(at_home(make_app(str(ran), views=VIEWS))) as found:
        yield f"{found}/"


def opened(page: Any, url: str) -> Any:
    page.call("Emulation.setFocusEmulationEnabled", enabled=True)
    page.open(url)
    page.wait_for("document.body.dataset.drawn === (location.hash || '#')")
    return page


def text(page: Any, within: str = "main") -> str:
    return str(page.run(f"document.getElementById('{within}').innerText"))


# --- what the server says


def test_runs_come_latest_first_and_choices_narrow_them(client: TestClient) -> None:
    found = client.get("/api/runs").json()
    assert [row["kind"] for row in found["runs"]] == ["retrain", "evaluation", "train", "train"] and found["total"] == 4
    chosen = client.get("/api/runs", params={"kind": "train", "limit": 1, "offset": 1}).json()
    assert chosen["total"] == 2 and chosen["runs"][0]["checkpoint_id"] == RAN.FIRST
    assert {row["value"]: row["n"] for row in chosen["facets"]["kind"]} == {"train": 2, "retrain": 1, "evaluation": 1}
    assert client.get("/api/runs", params={"q": "' or 1=1 --"}).json()["total"] == 0


def test_a_run_is_told_with_its_losses_and_its_figures(client: TestClient) -> None:
    training = client.get("/api/runs/train-000000000001").json()
    lines = {(line["split"], line["name"]): line["points"] for line in training["losses"]}
    assert len(lines["train", "loss"]) == 30 and lines["validation", "loss"] == [[10, 2.5], [20, 2.0], [30, 1.5]]
    assert training["run"]["config"] == RAN.STAGES and training["run"]["start"] == RAN.FIRST
    judged = client.get("/api/runs/evaluate-1").json()
    assert [(row["value"], row["baseline"]) for row in judged["metrics"]] == [(0.5, None), (0.1, "chance")]


def test_nothing_says_where_files_lie_on_the_machine(client: TestClient) -> None:
    for path in ("runs", "runs/train-000000000001", "gates", "history", "models", f"models/{RAN.SECOND}"):
        assert "/secret" not in client.get(f"/api/{path}").text


def test_an_evaluations_page_may_show_its_style_and_run_nothing(client: TestClient) -> None:
    answer = client.get("/evaluations/evaluate-1/index.html")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script" not in policy
    assert client.get("/evaluations/evaluate-1/contact_sheet.png").headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    "path",
    ["/evaluations/evaluate-1/nothing.png", "/evaluations/train-000000000001/metrics.jsonl",
     "/evaluations/evaluate-1/%2e%2e/%2e%2e/runs/train-000000000001/metrics.jsonl", "/evaluations/evaluate-1//etc/passwd",
     "/evaluations/nobody/index.html", "/api/runs/nobody", "/api/models/nobody"],
)  # fmt: skip
def test_what_is_not_a_page_of_an_evaluation_is_not_found(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/api/runs?limit=0", "/api/runs?offset=-1", "/api/runs/..%00", f"/api/runs/{'x' * 101}", "/api/models/a b"]
)
def test_questions_that_make_no_sense_are_refused(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 422


def test_builds_over_time_say_what_changed(client: TestClient) -> None:
    newer, older = client.get("/api/history").json()
    assert (newer["build_id"], newer["samples"], newer["parent"]) == ("newer", 60, "older") and older["parent"] is None
    assert newer["changes"] == [] and "changes" not in older


def test_the_model_in_place_is_the_first_to_choose(client: TestClient) -> None:
    models = client.get("/api/models").json()
    assert [(row["checkpoint_id"], row["in_place"]) for row in models] == [(RAN.SECOND, True), (RAN.FIRST, False)]
    told = client.get(f"/api/models/{RAN.SECOND}").json()
    assert [training["checkpoint_id"] for training in told["trainings"]] == [RAN.SECOND, RAN.FIRST]


def test_a_run_whose_process_is_gone_is_told_as_crashed_and_one_that_lives_says_how_far_it_is(
    root: Path, tmp_path: Path
) -> None:
    store = Store(str(tmp_path / "root"))
    store.put_folder(root, "")
    about = {"kind": "build-dataset", "config": "{}", "status": "running", "created_at": "2026-11-05T10:00:00+00:00"}
    for name in ("dead", "alive"):
        flow_runs.put(store, Run(run_id=f"build-dataset-{name}", **about))
    line = {"time": "2026-11-05T10:00:01", "level": "info", "step": "write", "message": "write: 3 of 9 samples",
            "fields": {"done": 3, "total": 9, "unit": "samples", "seconds_left": 4.0}}  # fmt: skip
    store.write_bytes("logs/build-dataset-alive.jsonl", (json.dumps(line) + '\n{"cut').encode())
    with lease(store, flow_runs.PREFIX + "build-dataset-alive"):
        rows = {
            row["run_id"]: row for row in TestClient(make_app(store.root, views=VIEWS)).get("/api/runs").json()["runs"]
        }
    assert (
        rows["build-dataset-dead"]["status"] == "crashed"
        and "ended without recording a status" in rows["build-dataset-dead"]["reason"]
    )
    assert rows["build-dataset-alive"]["status"] == "running" and rows["build-dataset-alive"]["progress"]["done"] == 3


def test_questions_may_be_asked_by_several_at_once(ran: Path) -> None:
    client, found = TestClient(make_app(str(ran), views=VIEWS)), []
    asking = [threading.Thread(target=lambda: found.append(client.get("/api/runs").json()["total"])) for _ in range(8)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert found == [4] * 8


def test_a_long_line_is_thinned_to_points_that_can_be_drawn() -> None:
    points = [(step, float(step)) for step in range(100_000)]
    few = thinned(points)
    assert len(few) == POINTS and few[0] == points[0] and few[-1] == points[-1] and sorted(few) == few


# --- what the page shows


def test_runs_are_opened_with_keys_and_show_losses_and_sheets(page: Any, address: str, tmp_path: Path) -> None:
    opened(page, address)
    page.press("5", 53)
    page.wait_for("document.querySelectorAll('.runs tbody tr').length === 4")
    assert "no reason recorded" in text(page) and "better than the one before" in text(page)
    assert page.run("document.querySelectorAll('.interval').length") == 4
    page.press("j", 74)
    page.press("j", 74)
    page.press("Enter", 13)
    page.wait_for("document.getElementById('drawer').dataset.run === 'evaluate-1'")
    page.wait_for("document.querySelector('#drawer img.sheet').naturalWidth === 64")
    assert "concept@1" in text(page, "drawer") and "chance 0.100" in text(page, "drawer")
    page.screenshot(tmp_path / "evaluation.png")
    page.press("Escape", 27)
    assert page.run("document.activeElement.dataset.run") == "evaluate-1"
    page.run("openRun('train-000000000001')")
    page.wait_for("document.querySelectorAll('#drawer polyline').length === 2")
    assert page.run("document.querySelectorAll('#drawer circle').length") == 6
    assert page.complaints() == [] and page.unnamed() == []


def test_the_lineage_is_walked_with_keys_and_leads_to_samples(page: Any, address: str, tmp_path: Path) -> None:
    opened(page, f"{address}#view=lineage")
    nodes = page.run("[...document.querySelectorAll('.node strong')].map(n => n.innerText)")
    assert nodes[0] == "bbbb1111" and {"kites", "text to image", "older", "newer"} <= set(nodes)
    edges = page.run("document.querySelectorAll('.edge').length")
    assert edges >= 8 and page.run(
        "[...document.querySelectorAll('.edge')].every(e => !e.getAttribute('d').includes('NaN'))"
    )
    page.press("j", 74)
    assert page.run("document.activeElement.classList.contains('near')")
    page.screenshot(tmp_path / "lineage.png")
    page.run("document.querySelector('.node[data-node^=corpus]').focus()")
    page.press("Enter", 13)
    page.wait_for("!document.getElementById('drawer').hidden")
    assert "npm:kites@1.2.5" in text(page, "drawer") and "CC0-1.0" in text(page, "drawer")
    page.click("browse its samples", "#drawer")
    page.wait_for("location.hash.includes('corpus=kites') && document.querySelectorAll('article').length > 0")
    assert page.run("window.hacked === undefined") and page.complaints() == []


def test_another_model_is_chosen_and_stands_in_the_address(page: Any, address: str) -> None:
    opened(page, f"{address}#view=lineage&model={RAN.FIRST}")
    assert "formerly promoted" in text(page) and page.run("document.querySelectorAll('.layer0 .node').length") == 1
    page.run(f"location.hash = 'view=lineage&model={RAN.SECOND}'")
    page.wait_for("document.querySelectorAll('.layer0 .node').length === 2")
    assert page.unnamed() == []
    page.run("location.hash = 'view=lineage&model=nobody'")
    page.wait_for("document.getElementById('main').innerText.includes(\"no checkpoint 'nobody'\")")


@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("view", ["runs", "lineage"])
def test_both_views_fit_wide_and_narrow_screens(page: Any, address: str, width: int, view: str, tmp_path: Path) -> None:
    page.width(width)
    opened(page, f"{address}#view={view}")
    page.screenshot(tmp_path / f"{view}-{width}.png")
    assert page.run("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_both_views(page: Any, address: str, axe: str, scheme: str) -> None:
    page.scheme(scheme)
    for view in ("runs", "lineage"):
        opened(page, f"{address}#view={view}")
        assert page.audit(axe) == [], view
    page.run("openRun('train-000000000001')")
    page.wait_for("document.querySelectorAll('#drawer polyline').length === 2")
    assert page.audit(axe) == []


def test_a_root_with_builds_alone_says_what_would_be_there(page: Any, root: Path, served: Any) -> None:
    with served(at_home(make_app(str(root), views=VIEWS))) as found:
        opened(page, f"{found}/#view=runs")
        assert "No runs yet" in text(page) and "No decisions yet" in text(page)
        page.run("location.hash = 'view=lineage'")
        page.wait_for("document.getElementById('main').innerText.includes('No models yet')")
        assert page.complaints() == []


def test_the_folder_shows_runs_and_lineage_without_a_server(page: Any, ran: Path, tmp_path: Path) -> None:
    where = export_static(str(ran), str(tmp_path / "static"), samples=4, views=VIEWS)
    opened(page, f"file://{where}#view=runs&kind=train")
    assert page.run("document.querySelectorAll('.runs tbody tr').length") == 2
    page.run("openRun('evaluate-1')")
    page.wait_for("document.querySelector('#drawer img.sheet').naturalWidth === 64")
    page.run("close(); location.hash = 'view=lineage'")
    page.wait_for("document.querySelectorAll('.edge').length >= 8")
    assert page.run("window.hacked === undefined") and page.complaints() == []
    assert not [url for url in page.requested() if not url.startswith("file://")]
