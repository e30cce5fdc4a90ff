"""Who opts out, in headers and files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codi2_datasets.connectors import Link
from codi2_datasets.fetching.listing import slices
from codi2_datasets.fetching.rules import REFUSALS, Blocklist, Robots, Site, comparable, fits, opted_out, refuses
from codi2_storage.locations.urls import Url, parse_url

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


def at(path: str) -> Url:
    return parse_url(f"http://a.example{path}")


def test_a_site_says_what_may_be_read() -> None:
    rules = '[{"location": "/free/*", "tdm-reservation": 0}, {"location": "/*.jpg$", "tdm-reservation": 1}]'
    site = Site.read("User-agent: codi2-open\nDisallow: /no/\n\nUser-agent: *\nDisallow: /\n", rules)
    assert site.allows(at("/yes/1.jpg")) and not site.allows(at("/no/1.jpg"))
    assert site.reserves(at("/b/1.jpg")) and site.reserves(at("/b/1.jpg?w=1")) and not site.reserves(at("/free/1.jpg"))
    assert not site.reserves(at("/b/1.jpg.html"))


@pytest.mark.parametrize("text", [None, "", "{", '{"location": "/"}', "[1, null]", "[" * 100_000])
def test_a_file_of_rules_that_is_none_reserves_nothing(text: str | None) -> None:
    assert not Site.read(None, text).reserves(at("/"))


ROBOTS = """\ufeff# a comment
USER-AGENT: other
Disallow: /

User-agent: *\r
User-agent: someone\r
Crawl-delay: 5\r
Disallow: /folder/ # another
Allow: /folder/open\rDisallow:
Disallow: /*.gif$
Disallow: /a%2fb
Disallow: /%7Euser
Disallow: /é
Disallow: /search?q=
disallow: bare
Allow: /same
Disallow: /same
"""


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/", True), ("/folder/", False), ("/folder/x", False), ("/folder/open.jpg", True), ("/x/1.gif", False), ("/1.gif?x", True),
     ("/a%2Fb/c", False), ("/a/b/c", True), ("/~user/1", False), ("/%7euser", False), ("/%C3%A9.jpg", False), ("/search?q=1", False),
     ("/search", True), ("/bare", False), ("/same", True), ("/Folder/", True)],
)  # fmt: skip
def test_the_longest_rule_of_robots_txt_decides(path: str, allowed: bool) -> None:
    assert Site.read(ROBOTS, None).allows(at(path)) is allowed


def test_groups_that_name_us_stand_in_place_of_those_for_all() -> None:
    named = "User-agent: *\nDisallow: /\n\nUser-agent: CoDi2-Open/1.0\nDisallow: /a\n\nUser-agent: codi2-open\nDisallow: /b\n"
    site = Site.read(named, None)
    assert [site.allows(at(path)) for path in ("/a", "/b", "/c")] == [False, False, True]
    assert not Robots.read("User-agent: codi2\nDisallow: /\n").allows("/x") and Robots.read("Disallow: /").allows("/x")


@given(st.text(max_size=20))
def test_a_location_is_no_pattern_of_another_kind(path: str) -> None:
    literal = f"/{path}".replace("*", "").rstrip("$")
    assert fits(literal, f"{literal}/more") and not fits("", literal)


@given(st.text(max_size=20))
def test_what_is_compared_is_compared_alike_however_it_is_coded(path: str) -> None:
    assert comparable(comparable(path)) == comparable(path)
    assert comparable("/%41%7e%2f%c3%a9é'") == "/A~%2F%C3%A9%C3%A9%27"


def test_a_blocklist_knows_hosts_domains_and_beginnings() -> None:
    blocked = Blocklist(frozenset({"a.example"}), ("b.example",), ("http://c.example/x",))
    held = ["http://A.example./1", "http://x.b.example/", "http://b.example/", "http://c.example/x/1"]
    assert [blocked.holds(parse_url(url)) for url in held] == [True] * 4
    assert not any(
        blocked.holds(parse_url(url)) for url in ("http://aa.example/1", "http://xb.example/", "http://c.example/1")
    )


@given(st.integers(0, 50), st.integers(1, 9))
def test_slices_hold_every_row_once_in_order(count: int, size: int) -> None:
    rows = [Link(str(n), "http://x") for n in range(count)]
    found = list(slices(rows, size))
    assert [row for piece in found for row in piece.rows] == rows and all(len(piece.rows) <= size for piece in found)
    assert [piece.name for piece in found] == [f"{n:06d}" for n in range(len(found))]
