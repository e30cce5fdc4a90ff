"""The page in a real browser: words with media between them go out, replies are streamed, and used again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codi2_model.serving.http.api import build_api
from tests.codi2_model.serving.page.on_page import CHIPS, ENTER, ESCAPE, SECOND, WHOLE, screenshot, sent

PASTE = """(async () => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 20, height: 20});
  canvas.getContext('2d').fillRect(2, 2, 9, 9);
  const blob = await new Promise((done) => canvas.toBlob(done, 'image/png'));
  const data = new DataTransfer();
  data.items.add(new File([blob], 'pasted.png', {type: 'image/png'}));
  const event = new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true});
  document.querySelector('#text').dispatchEvent(event);
})()"""


def test_media_stand_between_the_words_and_the_reply_comes_in_its_order(
    opened: Any, echo: Any, files: list[Path], address: str
) -> None:
    page = opened
    assert page.run("document.activeElement.id") == "text"  # ready to type, no click needed
    page.type("Turn ")
    page.attach("#file", *files[:1])
    page.wait_for(CHIPS.format(1))
    page.type("into this")
    page.press(*ENTER, shift=True)  # a line break, nothing is sent
    page.attach("#file", *files[1:])
    page.wait_for(CHIPS.format(3))
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
    page.wait_for(CHIPS.format(1))
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    assert sent(echo) == ["Make ", "image", " blue"]
    page.click("Use as input", ".assistant figure")
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
    page.click("Edit", ".tools.user")
    assert page.run("document.querySelector('#text').textContent") == "one"
    page.type(" more")
    page.press(*ENTER)
    page.wait_for("document.querySelector('.tools.user').textContent.includes('2 / 2')")
    page.wait_for("!document.querySelector('.wait')")
    assert sent(echo) == ["one more"] and len(echo.seen[-1].messages) == 1
    page.run("document.querySelector('[aria-label=\"Earlier branch\"]').click()")
    page.wait_for("document.querySelector('.turn.user').textContent === 'one'")
    first = echo.seen[-1].settings.seed
    page.click("Regenerate", ".tools.assistant")
    page.wait_for(SECOND)
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
    page.click("Copy JSON", ".tools.user")
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
    page.wait_for("[...document.querySelectorAll('.hint small')].some((s) => s.textContent.includes('MIT'))")
    page.click("Edit by example", ".hint")
    page.wait_for(CHIPS.format(3))
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


def test_an_edit_is_shown_and_can_be_given_up(opened: Any, echo: Any) -> None:
    page = opened
    page.type("one")
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    page.click("Edit")
    assert page.run("document.querySelector('#editing').checkVisibility()")
    page.press(*ESCAPE)
    assert page.run("document.querySelector('#editing').hidden && document.querySelector('#text').textContent === ''")
    page.type("two")
    page.press(*ENTER)
    page.wait_for(WHOLE.format(2))
    assert len(echo.seen[-1].messages) == 3  # no branch: the conversation goes on


def test_sounds_are_heard_before_and_after(opened: Any, files: list[Path]) -> None:
    page = opened
    page.attach("#file", files[1])
    page.wait_for(CHIPS.format(1))
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    page.click("Before / after")
    assert page.run("[...document.querySelectorAll('.beside audio')].map((a) => a.ariaLabel)") == ["before", "after"]
    page.click("Before / after")
    assert page.run("document.querySelectorAll('.assistant audio').length") == 1


def test_settings_are_remembered_and_mistakes_in_them_put_right(opened: Any, echo: Any, address: str) -> None:
    page = opened
    change = (
        "(() => {{ const n = document.querySelector('#{}'); n.value = {!r}; n.dispatchEvent(new Event('change')); }})()"
    )
    page.run(change.format("seed", "41"))
    page.run(change.format("steps", "5000"))  # more than the server takes
    page.open(address + "/")
    page.wait_for("document.querySelector('#seed')?.value === '41' && document.querySelector('#steps').value === ''")
    page.type("one")
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    assert (echo.seen[-1].settings.seed, echo.seen[-1].settings.steps) == (41, None)
