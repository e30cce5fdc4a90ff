"""The page in a real browser: what keys, waiting, mistakes and hostile captions do to it."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from codi2_datasets.browse.server import at_home, make_app
from codi2_datasets.browse.static_export import export_static


def catalog_module() -> Any:
    """test_browse.py, which no package path leads to."""
    spec = importlib.util.spec_from_file_location("_codi2_test_browse", Path(__file__).with_name("test_browse.py"))
    assert spec is not None and spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CATALOG = catalog_module()
root, client = CATALOG.root, CATALOG.client  # its fixtures


@pytest.fixture(scope="module")
def address(root: Path, served: Any) -> Iterator[str]:
    app = at_home(make_app(str(root)))

    @app.middleware("http")
    async def late(request: Any, call_next: Any) -> Any:
        if request.query_params.get("q") == "red" or request.url.path.endswith(f"{5:032x}"):
            await asyncio.sleep(0.7)  # an answer that comes after the next question
        return await call_next(request)

    with served(app) as found:
        yield f"{found}/"


def opened(page: Any, url: str) -> Any:
    page.open(url)
    page.wait_for("document.querySelectorAll('article').length > 0")
    return page


def says(page: Any, count: str) -> None:
    page.wait_for(f"document.getElementById('count')?.textContent === '{count}'")


def test_a_filter_is_chosen_with_keys_and_keeps_the_focus(page: Any, address: str, tmp_path: Path) -> None:
    opened(page, address)
    for _ in range(20):
        page.press("Tab", 9)
        if page.run("document.activeElement.id") == "by-task":
            break
    page.press("ArrowDown", 40)
    says(page, "1–20 of 48 samples")
    assert page.run("document.activeElement.id") == "by-task"
    page.press("ArrowDown", 40)
    says(page, "1–12 of 12 samples")
    assert "task=text_to_audio" in page.run("location.hash")
    page.screenshot(tmp_path / "filtered.png")
    assert page.complaints() == []


def test_a_choice_that_fits_nothing_is_still_shown_as_chosen(page: Any, address: str) -> None:
    page.open(f"{address}#task=text_to_image&split=nowhere")
    says(page, "no samples")
    assert page.run("document.getElementById('by-split').value") == "nowhere"


def test_a_late_answer_does_not_cover_a_newer_one(page: Any, address: str) -> None:
    opened(page, address)
    page.run("location.hash = 'q=red'")
    time.sleep(0.1)
    page.run("location.hash = 'task=text_to_audio'")
    says(page, "1–12 of 12 samples")
    page.run(f"openLineage('{5:032x}'); close(); openLineage('{6:032x}')")
    page.wait_for(f"document.getElementById('drawer').innerText.includes('{6:032x}')")
    time.sleep(1)
    assert page.run("document.getElementById('count').textContent") == "1–12 of 12 samples"
    assert page.run(f"document.getElementById('drawer').innerText.includes('{6:032x}')")


def test_lineage_keeps_the_focus_until_it_is_closed(page: Any, address: str, tmp_path: Path) -> None:
    opened(page, address)
    page.press("j", 74)
    page.press("Enter", 13)
    page.wait_for("document.getElementById('drawer').innerText.includes('npm:kites')")
    told = page.run("document.getElementById('drawer').innerText")
    assert "npm:kites@1.2.5 1.2.5" not in told and "null" not in told
    for _ in range(8):
        page.press("Tab", 9)
        assert page.run(
            "document.activeElement === document.body || document.getElementById('drawer').contains(document.activeElement)"
        )
    page.screenshot(tmp_path / "lineage.png")
    page.press("Escape", 27)
    assert page.run("document.activeElement.tagName") == "ARTICLE"


def test_arrows_go_through_the_views_and_the_ledger_lists_the_builds(page: Any, address: str) -> None:
    opened(page, address)
    page.run("document.querySelector('[data-view=samples]').focus()")
    for wanted, text in (
        ("ledger", "Builds of this root"),
        ("statistics", "Samples by task"),
    ):
        page.press("ArrowLeft", 37)
        page.wait_for(f"document.getElementById('main').innerText.includes('{text}')")
        assert page.run("document.activeElement.dataset.view") == wanted
    page.press("ArrowRight", 39)
    page.wait_for("document.getElementById('main').innerText.includes('older')")
    page.press("ArrowRight", 39)
    page.wait_for("document.querySelectorAll('article').length > 0")


def shown(page: Any, state: str) -> None:
    page.run(f"location.hash = '{state}'")
    page.wait_for(f"document.body.dataset.drawn === '#{state}'")


SAMPLE = f"view=sample&id={7:032x}"
STATES = ("view=samples", SAMPLE, "view=rejects", "view=statistics", "view=ledger")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_any_view(page: Any, address: str, axe: str, scheme: str) -> None:
    page.scheme(scheme)
    opened(page, address)
    for state in STATES:
        shown(page, state)
        assert page.audit(axe) == [], state
    shown(page, "view=samples")
    page.press("?", 191)
    assert page.audit(axe) == []
    page.press("Escape", 27)
    page.run(f"openLineage('{6:032x}')")
    page.wait_for(f"document.getElementById('drawer').innerText.includes('{6:032x}')")
    assert page.audit(axe) == []


def test_no_view_scrolls_sideways_on_a_phone(page: Any, address: str, tmp_path: Path) -> None:
    page.width(375)
    opened(page, address)
    for state in STATES:
        shown(page, state)
        page.screenshot(tmp_path / f"{state.partition('&')[0]}.png")
        assert page.run("document.documentElement.scrollWidth") <= 375, state


def test_a_sample_has_a_page_of_its_own(page: Any, address: str, root: Path, tmp_path: Path) -> None:
    static = export_static(str(root), str(tmp_path / "static"), samples=60)
    for where in (f"file://{static}", address):
        opened(page, f"{where}#{SAMPLE}")
        words = page.run("document.getElementById('main').innerText")
        assert page.run("document.querySelectorAll('article').length") == 1
        assert "number 7" in words and f"{7:032x}" in words and "npm:kites" in words
    page.run(f"location.hash = 'view=sample&id={10**6:032x}'")
    page.wait_for(f"document.querySelector('[role=alert]')?.textContent.includes('no sample {10**6:032x}')")
    shown(page, "view=samples")
    page.run("document.querySelector('article h2 a').click()")
    page.wait_for("location.hash.startsWith('#view=sample&id=')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_on_colour_can_be_read(page: Any, address: str, scheme: str, tmp_path: Path) -> None:
    page.scheme(scheme)
    opened(page, address)
    style = "getComputedStyle(document.documentElement).getPropertyValue"
    page.screenshot(tmp_path / f"{scheme}.png")
    names = ("paper", "card", "ink", "faint", "accent", "user", "demo-in", "demo-out", "query", "target", "on-tag")
    colours = {
        name: luminance(page.run(f"{style}.call(getComputedStyle(document.documentElement), '--{name}')"))
        for name in names
    }
    over = [("on-tag", name) for name in ("demo-in", "demo-out", "query", "target")]
    over += [(name, "user") for name in ("demo-in", "demo-out", "query", "ink")] + [
        ("target", "card"),
        ("accent", "card"),
    ]
    over += [("ink", "paper"), ("faint", "paper"), ("faint", "card")]
    poor = {pair: round(contrast(*(colours[name] for name in pair)), 2) for pair in over}
    assert {pair: value for pair, value in poor.items() if value < 4.5} == {}


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, as WCAG 2 has it."""
    levels = [int(colour.strip()[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_the_folder_answers_as_the_server_does_and_runs_no_caption(
    page: Any, root: Path, client: TestClient, tmp_path: Path
) -> None:
    where = export_static(str(root), str(tmp_path / "static"), samples=60)
    opened(page, f"file://{where}")
    for asked in ("order=demos", "q=red", f"q={7:032x}", "task=text_to_audio&order=parts", "demos=3&split=train"):
        served = client.get(f"/api/samples?{asked}").json()
        page.run(f"location.hash = '{asked}'")
        page.wait_for(f"document.body.dataset.drawn === '#{asked}'")
        shown = page.run("[...document.querySelectorAll('article')].map(a => a.dataset.sample)")
        assert shown == [sample["sample_id"] for sample in served["samples"]]
    page.run("location.hash = 'q=onerror'")
    page.wait_for("document.getElementById('main').innerText.includes('<script>window.hacked')")
    # the policy would stop even what slipped through
    page.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked=1\">')")
    time.sleep(0.3)
    assert page.run("window.hacked === undefined")
    assert not [url for url in page.requested() if not url.startswith("file://")]
