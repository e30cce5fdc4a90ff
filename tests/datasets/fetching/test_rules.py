"""Who opts out, in headers and files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codi2_datasets.connectors import Link
from codi2_datasets.fetching.listing import slices
from codi2_datasets.fetching.rules import REFUSALS, Blocklist, Site, fits, opted_out, refuses

WORDS = st.sampled_from(sorted(REFUSALS))
HARMLESS = st.sampled_from(
    ["all", "nofollow", "max-snippet: 5", "max-image-preview: large", "unavailable_after: 25 jun 2030"]
)


@given(
    st.lists(HARMLESS, max_size=3),
    WORDS,
    st.lists(HARMLESS, max_size=3),
    st.sampled_from(["", "*: ", "codi2-open: ", "CODI2-Open:"]),
)
def test_a_refusal_counts_wherever_it_stands(before: list[str], word: str, after: list[str], agent: str) -> None:
    assert refuses(agent + ", ".join([*before, word.upper(), *after]))


@given(st.lists(HARMLESS, max_size=4), st.lists(WORDS, max_size=3))
def test_what_is_said_to_others_is_not_said_to_us(harmless: list[str], words: list[str]) -> None:
    assert not refuses(", ".join(harmless)) and not refuses(", ".join([*harmless, "otherbot: all", *words]))


def test_headers() -> None:
    assert opted_out([("X-ROBOTS-TAG", "noai")]) and opted_out([("tdm-reservation", "1")])
    assert not opted_out([("tdm-reservation", "0"), ("x-robots-tag", "nofollow"), ("Content-Type", "noai")])


def test_a_site_says_what_may_be_read() -> None:
    rules = '[{"location": "/free/*", "tdm-reservation": 0}, {"location": "/*.jpg$", "tdm-reservation": 1}]'
    site = Site.read("User-agent: codi2-open\nDisallow: /no/\n\nUser-agent: *\nDisallow: /\n", rules)
    assert site.allows("http://a.example/yes/1.jpg") and not site.allows("http://a.example/no/1.jpg")
    assert site.reserves("http://a.example/b/1.jpg") and not site.reserves("http://a.example/free/1.jpg")
    assert not site.reserves("http://a.example/b/1.jpg.html")


@pytest.mark.parametrize("text", [None, "", "{", '{"location": "/"}', "[1, null]", "[" * 100_000])
def test_a_file_of_rules_that_is_none_reserves_nothing(text: str | None) -> None:
    assert not Site.read(None, text).reserves("http://a.example/")


@given(st.text(max_size=20))
def test_a_location_is_no_pattern_of_another_kind(path: str) -> None:
    literal = f"/{path}".replace("*", "").rstrip("$")
    assert fits(literal, f"{literal}/more") and not fits("", literal)


def test_a_blocklist_knows_hosts_domains_and_beginnings() -> None:
    blocked = Blocklist(frozenset({"a.example"}), ("b.example",), ("http://c.example/x",))
    assert blocked.holds("http://a.example/1", "A.example.") and not blocked.holds("http://aa.example/1", "aa.example")
    assert blocked.holds("http://x.b.example/", "x.b.example") and not blocked.holds("http://xb.example/", "xb.example")
    assert blocked.holds("http://c.example/x/1", "c.example") and not blocked.holds("http://c.example/1", "c.example")


@given(st.integers(0, 50), st.integers(1, 9))
def test_slices_hold_every_row_once_in_order(count: int, size: int) -> None:
    rows = [Link(str(n), "http://x") for n in range(count)]
    found = list(slices(rows, size))
    assert [row for piece in found for row in piece.rows] == rows and all(len(piece.rows) <= size for piece in found)
    assert [piece.name for piece in found] == [f"{n:06d}" for n in range(len(found))]
