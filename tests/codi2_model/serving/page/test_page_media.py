"""Media on the page, in a real browser: dropped, recorded, from templates, copied, exported and brought back."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from codi2_datasets.tasks import planners
from codi2_model.serving.http.examples import FOLDER, LICENCES
from tests.codi2_model.serving.page.on_page import BACKSPACE, CHIPS, ENTER, SECOND, WHOLE, screenshot, sent


def test_files_are_dropped_where_they_are_let_go(opened: Any, echo: Any, files: list[Path]) -> None:
    page = opened
    page.drop("#text", *files)
    page.wait_for(CHIPS.format(3))
    assert "over" not in page.run("document.querySelector('#box').className")
    names = page.run("[...document.querySelectorAll('.chip')].map((chip) => chip.ariaLabel)")
    assert names == ["image: apple.png", "audio: drum.wav", "video: clip.mp4"]
    page.press(*BACKSPACE)  # the place behind the chip, then the chip
    page.press(*BACKSPACE)
    page.wait_for(CHIPS.format(2))
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    assert sent(echo) == ["image", "audio"]


def test_the_microphone_is_recorded_into_the_message(opened: Any, echo: Any) -> None:
    page = opened
    page.type("What is this? ")
    page.click("Record")
    page.wait_for("document.querySelector('#record').ariaPressed === 'true'")
    page.wait_for("document.querySelector('#record').textContent.includes('1 s')")
    page.click("Stop recording")
    page.wait_for(CHIPS.format(1))
    assert page.run("document.querySelector('.chip').ariaLabel").startswith("audio: recording, 1.")
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    assert sent(echo) == ["What is this? ", "audio"]
    wave = echo.seen[-1].messages[-1]["content"][1]["value"]
    assert 0.8 < len(wave) / 16_000 < 4 and np.abs(wave).max() > 0.05  # the fake microphone beeps


def test_what_is_no_medium_is_refused_by_name(opened: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("words")
    opened.drop("#text", tmp_path / "notes.txt")
    told = opened.wait_for("document.querySelector('.turn.error')?.textContent")
    assert told.startswith("notes.txt: ")


def test_every_task_has_a_template_and_every_example_is_there_with_its_licence(opened: Any, address: str) -> None:
    script = "import('/page/gallery.js').then(({TEMPLATES}) => Object.values(TEMPLATES).flat())"
    templates = opened.run(script)
    assert {task for task, *_ in templates} == set(planners())
    table = json.loads((FOLDER / "examples.json").read_text())
    known = {row["name"]: row for row in table}
    used = [name for *_, message in templates for name in re.findall(r"\[([\w-]+)\]", message)]
    assert set(used) <= set(known) and len(used) > 20
    told = (FOLDER / "ATTRIBUTION.md").read_text()
    for row in table:
        data = (FOLDER / row["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert row["licence"] in LICENCES and row["author"] and row["file"] in told and row["author"] in told
        assert httpx.get(f"{address}/page/examples/{row['file']}").content == data
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 400_000


def test_templates_of_sounds_and_clips_are_filled_in_from_the_gallery(opened: Any, echo: Any) -> None:
    page = opened
    for name, kind in (("Edit audio", "audio"), ("Caption a video", "video")):
        page.click("Templates", "nav")
        page.wait_for("document.querySelectorAll('#gallery .thumbnails').length > 12")
        screenshot(page, "page-gallery.png")
        page.click(name, "#gallery")
        page.wait_for("!document.querySelector('#gallery').open && document.querySelectorAll('.chip').length === 1")
        page.press(*ENTER)
        page.wait_for("!document.querySelector('.wait') && document.querySelector('#text').textContent === ''")
        assert kind in sent(echo)


def test_a_turn_is_copied_as_curl_that_gives_the_same_reply(opened: Any, echo: Any) -> None:
    page = opened
    page.run("window.copied = null; navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.click("Edit by example", ".hint")
    page.wait_for(CHIPS.format(3))
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    page.click("Regenerate", ".tools.assistant")
    page.wait_for(SECOND)
    first = echo.seen[-1]
    page.run("document.querySelector('#seed').value = 77")  # what the reply was made with is what counts
    page.click("Copy curl", ".tools.assistant")
    command = page.wait_for("window.copied")
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
    assert json.loads(result.stdout)["choices"][0]["message"]["content"], result.stderr
    assert echo.seen[-1].settings.seed == first.settings.seed and sent(echo)[0].startswith("We apply")
    assert echo.seen[-1].settings.modalities == first.settings.modalities == ("image",)


def test_an_exported_conversation_comes_back_with_its_branches(opened: Any, tmp_path: Path, files: list[Path]) -> None:
    page = opened
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.attach("#file", files[0])
    page.wait_for(CHIPS.format(1))
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    page.click("Regenerate")
    page.wait_for(SECOND)
    page.click("Export")
    file = tmp_path / "conversation.json"
    end = time.monotonic() + 10
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.05)
    tree = json.loads(file.read_text())
    assert len(tree["nodes"]) == 3 and "label" not in json.dumps(tree["messages"])
    page.click("New")
    page.wait_for("document.querySelector('.hint') !== null")
    page.attach("#import", file)
    page.wait_for(SECOND)
    assert page.run("document.querySelector('.user img').alt") == "apple.png"
    (tmp_path / "other.json").write_text('{"nodes": [{"parent": 0, "role": "user", "content": []}]}')
    page.attach("#import", tmp_path / "other.json")
    told = page.wait_for("document.querySelector('.turn.error')?.textContent")
    assert "exported conversation" in told and "node 0" in told
