"""The page for everybody, in a real browser: names, keys, announcements, contrast in both schemes, a phone's width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.codi2_model.serving.page.on_page import CHIPS, ENTER, ESCAPE, TAB, WHOLE, screenshot

CONTRAST = """(() => {
  const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')].filter((node) => node.checkVisibility() && !node.disabled
      && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
    .map((node) => {
      const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
      return [`${node.tagName} ${node.className} ${node.textContent.slice(0, 30)}`, (a + 0.05) / (b + 0.05)];
    }).filter(([_, ratio]) => ratio < 4.5);
})()"""


def full(page: Any, files: list[Path]) -> None:
    """A conversation with every kind of medium, and the settings open."""
    page.type("Turn ")
    page.attach("#file", *files)
    page.wait_for(CHIPS.format(3))
    page.press(*ENTER)
    page.wait_for(WHOLE.format(1))
    page.click("Settings")
    page.attach("#file", files[0])
    page.wait_for(CHIPS.format(1))


def test_all_that_can_be_used_has_a_name_and_the_reply_is_announced(opened: Any, files: list[Path]) -> None:
    page = opened
    assert page.unnamed() == []
    full(page, files)
    assert page.unnamed() == []
    landmarks = page.run("['header', 'nav', 'main', 'form#form', 'h1'].map((s) => document.querySelectorAll(s).length)")
    assert landmarks == [1, 1, 1, 1, 1]
    assert page.run("document.querySelector('#status').textContent").startswith("CoDi-2: Turn 1")
    assert "[image]" in page.run("document.querySelector('#status').textContent")
    for opener in ("open-gallery", "open-kept"):
        page.run(f"document.querySelector('#{opener}').focus()")
        page.press(*ENTER)
        page.wait_for("document.querySelector('dialog[open]') !== null")
        assert page.unnamed() == []
        page.press(*ESCAPE)
        page.wait_for("document.querySelector('dialog[open]') === null")
        assert page.run("document.activeElement.id") == opener  # where it was before


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(opened: Any) -> None:
    page = opened
    page.run("document.activeElement.blur(); document.querySelector('.skip').focus()")
    reached = []
    for _ in range(24):
        reached.append(page.run("document.activeElement.id || document.activeElement.textContent.slice(0, 9)"))
        page.press(*TAB)
    cards = reached.index("log") + 1
    assert reached[:6] == ["Skip to t", "new", "open-kept", "open-gallery", "export", "log"]
    assert reached[cards] == "Text to i" and reached[cards + 6] == "All templ"
    assert reached[cards + 7 : cards + 12] == ["text", "file", "record", "open-settings", "send"]


def test_words_stand_out_in_both_colour_schemes(opened: Any, files: list[Path]) -> None:
    page = opened
    papers = set()
    full(page, files)
    for scheme in ("light", "dark"):
        page.scheme(scheme)
        papers.add(page.run("getComputedStyle(document.body).backgroundColor"))
        assert page.run(CONTRAST) == [], scheme
        page.click("Templates", "nav")
        page.wait_for("document.querySelectorAll('#gallery small').length > 12")
        assert page.run(CONTRAST) == [], scheme
        page.press(*ESCAPE)
    assert len(papers) == 2


def test_axe_finds_nothing_serious(opened: Any, files: list[Path], axe: str) -> None:
    page = opened
    assert page.audit(axe) == []
    full(page, files)
    for scheme in ("light", "dark"):
        page.scheme(scheme)
        assert page.audit(axe) == [], scheme
    page.click("Templates", "nav")
    page.wait_for("document.querySelectorAll('#gallery small').length > 12")
    assert page.audit(axe) == []


def test_nothing_is_cut_off_at_360_pixels(opened: Any, files: list[Path]) -> None:
    page = opened
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    wide = "[...document.querySelectorAll('body *')].filter((n) => n.checkVisibility() && n.getBoundingClientRect().right > 361"
    wide += " && !n.closest('.skip, .unseen')).map((n) => n.outerHTML.slice(0, 90))"
    assert page.run("document.documentElement.scrollWidth") <= 360 and page.run(wide) == []
    screenshot(page, "phone-empty.png")
    full(page, files)
    assert page.run("document.documentElement.scrollWidth") <= 360 and page.run(wide) == []
    assert page.run("document.querySelector('#log').scrollWidth <= document.querySelector('#log').clientWidth")
    screenshot(page, "phone-full.png")
    page.click("Templates", "nav")
    page.wait_for("document.querySelectorAll('#gallery small').length > 12")
    assert page.run("document.querySelector('#gallery').scrollWidth <= document.querySelector('#gallery').clientWidth")
    screenshot(page, "phone-gallery.png")
