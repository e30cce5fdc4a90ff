"""The page in a real browser, with keys alone; its folder without a server; captions that want to be scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codi2_datasets.browse.server import make_app
from codi2_datasets.browse.static_export import export_static


@pytest.fixture(scope="module")
def address(browsed: Path, served: Any) -> Iterator[str]:
    with served(make_app(str(browsed))) as found:
        yield f"{found}/"


def opened(page: Any, url: str) -> Any:
    page.open(url)
    page.wait_for("document.querySelectorAll('article').length > 0")
    return page


def test_samples_are_looked_through_with_keys_alone(page: Any, address: str, tmp_path: Path) -> None:
    opened(page, address)
    assert page.run("document.querySelectorAll('article').length") == 20
    page.press("j", 74)
    page.press("j", 74)
    second = page.run("document.activeElement.dataset.sample")
    assert second == page.run("document.querySelectorAll('article')[1].dataset.sample")
    page.press("Enter", 13)
    page.wait_for(f"document.getElementById('drawer').dataset.sample === '{second}'")
    assert "hostile" in page.run("document.getElementById('drawer').innerText")
    page.screenshot(tmp_path / "lineage.png")
    page.press("Escape", 27)
    assert page.run("document.getElementById('drawer').hidden")
    assert page.run("document.activeElement.dataset.sample") == second
    page.press("n", 78)
    page.wait_for("document.getElementById('count').textContent.startsWith('21')")
    for key, code, text in (("2", 50, "nothing in it"), ("3", 51, "Samples by task"), ("4", 52, "exact_duplicate")):
        page.press(key, code)
        page.wait_for(f"document.getElementById('main').innerText.includes('{text}')")
        page.screenshot(tmp_path / f"view-{key}.png")
    page.press("?", 191)
    assert not page.run("document.getElementById('help').hidden")
    assert page.complaints() == [] and all(url.startswith(address) for url in page.requested())


def test_a_choice_stands_in_the_address_and_narrows(page: Any, address: str) -> None:
    opened(page, f"{address}#view=samples&task=exemplar_learning")
    page.wait_for("document.getElementById('count').textContent.endsWith('of 30 samples')")
    assert page.run("document.getElementById('by-task').value") == "exemplar_learning"
    roles = page.run("[...new Set([...document.querySelectorAll('figcaption')].map(c => c.textContent))].sort().join()")
    assert roles == "example input,example output,query,target"
    page.press("/", 191)
    page.wait_for("document.activeElement.id === 'search'")
    page.type("no such words anywhere")
    page.press("Enter", 13)
    page.wait_for("document.getElementById('count').textContent === 'no samples'")
    assert "q=no" in page.run("location.hash")


def test_a_caption_is_never_run(page: Any, address: str) -> None:
    opened(page, f"{address}#view=samples&q=onerror")
    page.wait_for("document.getElementById('main').innerText.includes('<script>window.hacked')")
    page.run("openLineage(document.querySelector('article').dataset.sample)")
    page.wait_for("document.getElementById('drawer').innerText.includes('onerror')")
    page.run("location.hash = 'view=rejects'")
    page.wait_for("document.getElementById('main').innerText.includes('nothing in it <img')")
    assert page.run("window.hacked === undefined") and page.run("document.querySelectorAll('img[src=x]').length") == 0


def test_pictures_and_sounds_are_there(page: Any, address: str) -> None:
    opened(page, f"{address}#view=samples&task=text_to_audio")
    page.run("document.querySelector('audio').preload = 'auto'; document.querySelector('audio').load()")
    assert abs(page.wait_for("document.querySelector('audio').duration") - 0.25) < 0.01
    opened(page, f"{address}#view=samples&task=text_to_image")
    page.wait_for("document.querySelector('article img')?.naturalWidth === 32")
    assert page.complaints() == []


@pytest.mark.parametrize("width", [1280, 375])
def test_the_page_fits_wide_and_narrow_screens(page: Any, address: str, width: int, tmp_path: Path) -> None:
    page.width(width)
    opened(page, address)
    page.screenshot(tmp_path / f"{width}.png")
    assert page.run("document.documentElement.scrollWidth") <= width


def test_the_folder_needs_no_server(page: Any, browsed: Path, tmp_path: Path) -> None:
    address = export_static(str(browsed), str(tmp_path / "static"), samples=30)
    opened(page, f"file://{address}")
    assert page.run("document.getElementById('count').textContent").endswith("of 30 samples")
    page.wait_for("document.querySelector('article img')?.naturalWidth === 32")
    page.run("openLineage(document.querySelector('article').dataset.sample)")
    page.wait_for(
        "document.getElementById('drawer').innerText.includes('.png') || document.getElementById('drawer').innerText.includes('.wav')"
    )
    page.run("close(); location.hash = 'view=samples&q=onerror'")
    page.wait_for("location.hash.includes('onerror') && document.body.dataset.drawn === location.hash")
    assert page.run("window.hacked === undefined") and page.complaints() == []
    assert not [url for url in page.requested() if not url.startswith("file://")]


def test_the_same_build_gives_the_same_folder(browsed: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_static(str(browsed), str(tmp_path / name), samples=12)
    files = [
        sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*") if path.is_file())
        for name in ("one", "two")
    ]
    assert files[0] == files[1]
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files[0])
