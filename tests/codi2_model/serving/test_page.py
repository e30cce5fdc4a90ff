"""The page in a real browser: text, a picture and a sound go out, an interleaved reply is shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from codi2_model.serving.api import build_api
from codi2_model.serving.protocol import ChatRequest, Reply, RequestError

ENTER = ("Enter", 13)


class Echo:
    """Says what it was sent, media included; counts the turns it saw."""

    model_id = "codi2-tiny"

    async def complete(self, request: ChatRequest) -> Reply:
        content = request.messages[-1]["content"]
        if content[0].get("text") == "refuse me":
            raise RequestError("must be kinder", "messages[0].content[0].text")
        said = f"Turn {len(request.messages)} <b>not bold</b>: "
        return Reply([{"type": "text", "text": said}, *content], 1, 1)


@pytest.fixture(scope="module")
def address(served: Any) -> Iterator[str]:
    with served(build_api(Echo())) as found:
        yield found


def test_a_person_converses_with_text_picture_and_sound(address: str, chromium: Any, tmp_path: Path) -> None:
    picture, sound = tmp_path / "apple.png", tmp_path / "drum.wav"
    Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 60).save(picture)
    soundfile.write(sound, 0.2 * np.sin(np.arange(8000) / 9), 16_000)
    with chromium.browser(tmp_path / "profile") as page:
        page.open(address + "/")
        page.wait_for("document.querySelector('#model').textContent === 'codi2-tiny'")
        assert page.run("document.activeElement.id") == "text"  # ready to type, no click needed
        page.attach("#picture", picture)
        page.attach("#sound", sound)
        page.wait_for("document.querySelectorAll('.chip').length === 2")
        page.type("What is this?")
        page.press(*ENTER, shift=True)  # a line break, nothing is sent
        page.type("And this sound?")
        assert page.run("document.querySelectorAll('.turn').length") == 0
        page.press(*ENTER)
        page.wait_for("document.querySelectorAll('.turn.assistant:not(.wait)').length === 1")
        reply = "document.querySelector('.turn.assistant')"
        assert page.run(f"{reply}.textContent").startswith("Turn 1 <b>not bold</b>: What is this?\nAnd this sound?")
        order = page.run(f"[...{reply}.childNodes].map((node) => node.nodeName).join(' ')")
        assert order == "#text #text IMG AUDIO"
        assert page.wait_for(f"{reply}.querySelector('img').naturalWidth") == 64
        assert page.wait_for(f"{reply}.querySelector('audio').duration") == pytest.approx(0.5, abs=0.01)
        page.type("and again")
        page.press(*ENTER)
        page.wait_for("document.querySelectorAll('.turn.assistant:not(.wait)').length === 2")
        assert "Turn 3 " in page.run(
            "document.querySelectorAll('.turn.assistant')[1].textContent"
        )  # history goes along
        if folder := os.environ.get("CODI2_SCREENSHOTS"):
            page.screenshot(Path(folder) / "page-light.png")
            dark = [{"name": "prefers-color-scheme", "value": "dark"}]
            page.call("Emulation.setEmulatedMedia", features=dark)
            page.screenshot(Path(folder) / "page-dark.png")
        page.run("document.querySelector('#clear').click()")
        page.type("refuse me")
        page.press(*ENTER)
        shown = page.wait_for("document.querySelector('.turn.error')?.textContent")
        assert shown == "messages[0].content[0].text: must be kinder"
        assert page.run("document.querySelector('#text').value") == "refuse me"  # what was typed is not lost
        asked = page.requested()
        assert asked and all(url.startswith(address) for url in asked)
        assert not [line for line in page.complaints() if "400" not in line]
