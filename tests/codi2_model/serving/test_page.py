"""The page in a real browser: words with media between them go out, replies are streamed, and used again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from codi2_datasets.media.video import encode_video
from codi2_model.serving.api import build_api

ENTER = ("Enter", 13)
WHOLE = "document.querySelectorAll('.turn.assistant:not(.wait)').length === {}"
PASTE = """(async () => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 20, height: 20});
  canvas.getContext('2d').fillRect(2, 2, 9, 9);
  const blob = await new Promise((done) => canvas.toBlob(done, 'image/png'));
  const data = new DataTransfer();
  data.items.add(new File([blob], 'pasted.png', {type: 'image/png'}));
  const event = new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true});
  document.querySelector('#text').dispatchEvent(event);
})()"""


@pytest.fixture
def address(served: Any, echo: Any) -> Iterator[str]:
    with served(build_api(echo)) as found:
        yield found


@pytest.fixture
def opened(address: str, page: Any) -> Any:
    page.open(address + "/")
    page.wait_for("document.querySelector('#model').textContent === 'codi2-tiny'")
    return page


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 60).save(tmp_path / "apple.png")
    soundfile.write(tmp_path / "drum.wav", 0.2 * np.sin(np.arange(8000) / 9), 16_000)
    frames = np.stack([np.full((32, 32, 3), 20 * n, np.uint8) for n in range(8)])
    (tmp_path / "clip.mp4").write_bytes(encode_video(frames))
    return [tmp_path / name for name in ("apple.png", "drum.wav", "clip.mp4")]


def screenshot(page: Any, name: str) -> None:
    if folder := os.environ.get("CODI2_SCREENSHOTS"):
        page.screenshot(Path(folder) / name)


def sent(echo: Any) -> list[str]:
    return [part.get("text") or part["type"] for part in echo.seen[-1].messages[-1]["content"]]


def test_media_stand_between_the_words_and_the_reply_comes_in_its_order(
    opened: Any, echo: Any, files: list[Path], address: str
) -> None:
    page = opened
    assert page.run("document.activeElement.id") == "text"  # ready to type, no click needed
    page.type("Turn ")
    page.attach("#file", *files[:1])
    page.wait_for("document.querySelectorAll('.chip').length === 1")
    page.type("into this")
    page.press(*ENTER, shift=True)  # a line break, nothing is sent
    page.attach("#file", *files[1:])
    page.wait_for("document.querySelectorAll('.chip').length === 3")
    page.type("please")
    assert page.run("document.querySelectorAll('.turn').length") == 0
    screenshot(page, "page-composer.png")
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    assert sent(echo) == ["Turn ", "image", "into this\n", "audio", "video", "please"]
    reply = "document.querySelector('.turn.assistant')"
    assert page.run(f"{reply}.querySelector('.said').textContent").startswith("Turn 1 <b>not bold</b>: Turn")
    order = page.run(f"[...{reply}.children].map((n) => n.querySelector('img,audio,video')?.tagName || 'TEXT').join()")
    assert order == "TEXT,IMG,TEXT,AUDIO,VIDEO,TEXT"
    assert page.wait_for(f"{reply}.querySelector('img').naturalWidth") == 64
    assert page.wait_for(f"{reply}.querySelector('audio').duration") == pytest.approx(0.5, abs=0.01)
    assert page.wait_for(f"{reply}.querySelector('video').videoWidth > 0")
    page.wait_for(f"{reply}.querySelector('canvas').width > 20")  # the sound's spectrogram
    screenshot(page, "page-light.png")
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    screenshot(page, "page-dark.png")
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    assert page.run("document.documentElement.scrollWidth") <= 360
    screenshot(page, "page-phone.png")
    asked = page.requested()
    assert asked and all(url.startswith((address, "blob:")) for url in asked)
    assert not page.complaints()


def test_a_picture_is_pasted_mid_sentence_and_an_output_is_taken_as_input(opened: Any, echo: Any) -> None:
    page = opened
    page.type("Make  blue")
    page.run("getSelection().collapse(document.querySelector('#text').firstChild, 5)")
    page.run(PASTE)
    page.wait_for("document.querySelectorAll('.chip').length === 1")
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    assert sent(echo) == ["Make ", "image", " blue"]
    page.run(
        "[...document.querySelectorAll('.assistant figure button')].find((b) => b.textContent === 'Use as input').click()"
    )
    page.type("again")
    page.press(*ENTER)
    page.wait_for(WHOLE.format(2))
    assert sent(echo) == ["image", "again"] and len(echo.seen[-1].messages) == 3
    compare = (
        "[...document.querySelectorAll('.assistant figure button')].filter((b) => b.textContent.startsWith('Before'))"
    )
    page.run(f"{compare}.at(-1).click()")
    assert page.run("document.querySelectorAll('.compare input[type=range]').length") == 1


def test_a_turn_is_edited_branched_and_regenerated(opened: Any, echo: Any) -> None:
    page = opened
    page.type("one")
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    page.run("[...document.querySelectorAll('.tools.user button')].find((b) => b.textContent === 'Edit').click()")
    assert page.run("document.querySelector('#text').textContent") == "one"
    page.type(" more")
    page.press(*ENTER)
    page.wait_for("document.querySelector('.tools.user').textContent.includes('2 / 2')")
    page.wait_for("!document.querySelector('.wait')")
    assert sent(echo) == ["one more"] and len(echo.seen[-1].messages) == 1
    page.run("document.querySelector('[aria-label=\"Earlier branch\"]').click()")
    page.wait_for("document.querySelector('.turn.user').textContent === 'one'")
    first = echo.seen[-1].settings.seed
    page.run(
        "[...document.querySelectorAll('.tools.assistant button')].find((b) => b.textContent === 'Regenerate').click()"
    )
    page.wait_for("document.querySelector('.tools.assistant')?.textContent.includes('2 / 2')")
    assert echo.seen[-1].settings.seed != first and sent(echo) == ["one"]


def test_what_is_refused_is_told_and_what_was_typed_is_not_lost(opened: Any) -> None:
    page = opened
    page.type("refuse me")
    page.press(*ENTER)
    shown = page.wait_for("document.querySelector('.turn.error')?.textContent")
    assert shown == "messages[0].content[0].text: must be kinder"
    assert page.run("document.querySelector('#text').textContent") == "refuse me"


def test_conversations_are_kept_listed_exported_and_copied(opened: Any, address: str) -> None:
    page = opened
    page.type("<img src=x onerror=alert(1)>")
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    page.run("window.copied = null; navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.run("[...document.querySelectorAll('.tools.user button')].find((b) => b.textContent === 'Copy JSON').click()")
    copied = json.loads(page.wait_for("window.copied"))
    assert copied["messages"][0]["content"][0]["text"] == "<img src=x onerror=alert(1)>"
    page.open(address + "/")
    page.wait_for("document.querySelector('.turn.user')?.textContent === '<img src=x onerror=alert(1)>'")
    assert page.run("document.querySelectorAll('.turn.user img').length") == 0
    page.run("document.querySelector('#new').click(); document.querySelector('#open-kept').click()")
    assert page.wait_for("document.querySelectorAll('#kept li').length") == 1
    screenshot(page, "page-kept.png")
    page.run("document.querySelector('#kept li button').click()")
    page.wait_for(WHOLE.format(1))


def test_templates_are_ready_to_send_and_set_what_is_asked_for(opened: Any, echo: Any) -> None:
    page = opened
    screenshot(page, "page-empty.png")
    page.run(
        "[...document.querySelectorAll('.hint button')].find((b) => b.textContent.startsWith('By example')).click()"
    )
    assert page.run("document.querySelectorAll('#text .chip').length") == 3
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    assert echo.seen[-1].settings.modalities == ("image",) and sent(echo)[::2][0].startswith("We apply")
    assert echo.seen[-1].settings.preview_every > 0


def test_a_reply_is_streamed_with_previews_and_can_be_stopped(pipeline: Any, served: Any, page: Any) -> None:
    """Over the real, very small model."""
    with pipeline() as backend, served(build_api(backend)) as address:
        page.open(address + "/")
        page.wait_for("document.querySelectorAll('[name=modality]').length === 4")
        for script in (
            "document.querySelector('#open-settings').click()",
            "document.querySelector('#steps').value = 100",
        ):
            page.run(script)
        page.run("document.querySelectorAll('[name=modality]').forEach((b) => { b.checked = b.value === 'video'; })")
        page.type("Show a ball.")
        page.press(*ENTER)
        page.wait_for("document.querySelector('.waiting progress')?.value > 1")
        page.wait_for("document.querySelector('.waiting .preview') !== null")
        screenshot(page, "page-preview.png")
        page.run("document.querySelector('#stop').click()")
        page.wait_for("!document.querySelector('.wait') && !document.querySelector('#send').hidden")
        page.run("document.querySelector('#steps').value = 4")
        page.press(*ENTER)
        page.wait_for(WHOLE.format(1))
        assert page.wait_for("document.querySelector('.assistant video').videoWidth") == 32
